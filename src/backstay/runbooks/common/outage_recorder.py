"""What users see of a reboot: an API client and pings that go on asking, every 200 ms."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from backstay.maintenance.outages import Watched, watched
from backstay.transports.sample import INTERVAL, HttpSampler, PingSampler

API = "api"
INSTANCE = "instance"


class OutageRecorder:
    """Watches APIs (name to URL) and instances (name to address) from ``start`` to ``stop``."""

    def __init__(self) -> None:
        self._apis: dict[str, HttpSampler] = {}
        self._pings: PingSampler | None = None
        self._names: dict[str, str] = {}
        self.began = 0.0

    @property
    def on(self) -> bool:
        """Say whether it watches."""
        return self.began > 0

    def start(
        self,
        apis: Mapping[str, str],
        instances: Mapping[str, str],
        *,
        interval: float = INTERVAL,
    ) -> None:
        """Begin to watch, in the background. Without the right to ping, instances are left out.

        ``interval`` is how often an API is asked, in seconds.
        """
        self.began = time.time()
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
            for name, one in self._apis.items()
            if any(answered for _, answered in one.samples) and not one.samples[-1][1]
        ]

    def stop(self) -> list[tuple[str, Watched]]:
        """End, and return what was seen of each, with its kind (API, INSTANCE)."""
        for sampler in self._samplers():
            sampler.stop()
        self.began = 0.0
        seen = [(API, watched(name, one.samples)) for name, one in self._apis.items()]
        pings = self._pings.samples if self._pings else {}
        seen += [
            (INSTANCE, watched(self._names[address], samples)) for address, samples in pings.items()
        ]
        self._apis, self._pings = {}, None
        return seen

    def _samplers(self) -> Sequence[HttpSampler | PingSampler]:
        return [*self._apis.values(), *([self._pings] if self._pings else [])]


def as_data(seen: Sequence[tuple[str, Watched]]) -> list[dict[str, Any]]:
    """Return what was watched as JSON data."""
    return [{"kind": kind, **asdict(one), "down": round(one.down, 3)} for kind, one in seen]
