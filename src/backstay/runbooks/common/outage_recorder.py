"""What users see of a reboot or a replacement: APIs and instances, asked at short intervals."""

import contextlib
import time
from collections.abc import Mapping, Sequence

from backstay.maintenance.outages import OutageSeries, outage_series
from backstay.transports.sample import INTERVAL, HttpSampler, PingSampler

API = "api"
INSTANCE = "instance"


class OutageRecorder:
    """Records the answers of APIs and instances in the background, from ``start`` to ``stop``.

    ``started`` is when it was started, in Unix seconds; 0 while it does not run.
    """

    def __init__(self) -> None:
        self._apis: dict[str, HttpSampler] = {}
        self._pings: PingSampler | None = None
        self._names: dict[str, str] = {}
        self.started = 0.0

    @property
    def on(self) -> bool:
        """Return whether it runs."""
        return self.started > 0

    def start(
        self,
        apis: Mapping[str, str],
        instances: Mapping[str, str],
        *,
        interval: float = INTERVAL,
    ) -> None:
        """Start recording. Instances are left out where this user may not ping.

        ``apis`` are URLs by name, ``instances`` addresses by name. An API is asked every
        ``interval`` seconds.
        """
        self.started = time.time()
        self._apis = {name: HttpSampler(url, interval=interval) for name, url in apis.items()}
        self._names = {address: name for name, address in instances.items()}
        with contextlib.suppress(PermissionError):
            self._pings = PingSampler(list(self._names)) if instances else None
        for sampler in self._samplers():
            sampler.start()

    def silent_apis(self) -> list[str]:
        """Return the APIs that have answered before, and did not when they were last asked."""
        return [
            name
            for name, sampler in self._apis.items()
            if any(answered for _, answered in sampler.samples) and not sampler.samples[-1][1]
        ]

    def stop(self) -> list[OutageSeries]:
        """Stop recording, and return the series of each API, then of each instance."""
        for sampler in self._samplers():
            sampler.stop()
        self.started = 0.0
        pings = self._pings.samples if self._pings else {}
        found = [outage_series(API, name, one.samples) for name, one in self._apis.items()]
        found += [
            outage_series(INSTANCE, self._names[address], samples)
            for address, samples in pings.items()
        ]
        self._apis, self._pings = {}, None
        return found

    def _samplers(self) -> Sequence[HttpSampler | PingSampler]:
        return [*self._apis.values(), *([self._pings] if self._pings else [])]
