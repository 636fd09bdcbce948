"""Whether a host itself answers: from its pings and its status stream."""

import time
from collections.abc import Mapping

from backstay.transports.ping_monitor import PingMonitor
from backstay.watch.detect.host_stream import HostStream
from backstay.watch.detect.probe import Outcome, ProbeResult
from backstay.watch.detect.topology import host_subject

SILENT = 1.2
"""Intervals without a sign after which a host counts as silent."""
UNHEARD = 1.6
HANGS = 4.0
"""Seconds without a line after which a host that answers pings is odd."""
STARTING = 5.0


class HostReachability:
    """Judges hosts from pings and streams. ``began`` is when that started (monotonic)."""

    def __init__(
        self, ping_monitor: PingMonitor, streams: Mapping[str, HostStream], every: float
    ) -> None:
        self.ping_monitor = ping_monitor
        self.streams = streams
        self.silent = SILENT * max(every, 1.0)
        self.began = time.monotonic()

    def probe_result(self, host: str) -> ProbeResult:
        """Return how a host looks just now."""
        now = time.monotonic()
        echo, stream = self.ping_monitor.hosts.get(host), self.streams.get(host)
        pinged = None if echo is None or echo.heard is None else now - echo.heard
        status_age = None if stream is None or stream.heard is None else now - stream.heard
        age = min((one for one in (pinged, status_age) if one is not None), default=None)
        seconds = echo.seconds if echo is not None else None

        def looks(outcome: Outcome, evidence: str) -> ProbeResult:
            return ProbeResult(
                subject=host_subject(host),
                outcome=outcome,
                evidence=evidence,
                at=time.time(),
                seconds=seconds if outcome is Outcome.OK else None,
            )

        silent = age is None or age > self.silent
        without = _without_status(stream, pinged) if stream is not None and silent else None
        if without is not None:
            return looks(*without)
        if age is None:
            asked = echo is not None or stream is not None
            if not asked or now - self.began < STARTING:
                return looks(Outcome.UNKNOWN, "not probed yet")
            return looks(Outcome.SILENT, "never answered")
        if age > self.silent:
            return looks(Outcome.SILENT, f"no answer for {age:.1f} s")
        if stream is not None and self._hangs(stream, status_age, now):
            since = f"for {status_age:.0f} s" if status_age is not None else "at all"
            return looks(Outcome.LATE, f"answers pings, but no data on its status channel {since}")
        return looks(Outcome.OK, "answers")

    def silent_streams(self) -> list[str]:
        """Return the hosts whose status stream is silent just now, without those that refuse it.

        Nor those that this machine could not ask.
        """
        return [
            name
            for name, stream in self.streams.items()
            if not (stream.refused or stream.unasked) and self._is_silent_stream(stream)
        ]

    @staticmethod
    def _is_silent_stream(stream: HostStream) -> bool:
        return stream.heard is None or time.monotonic() - stream.heard > UNHEARD

    def excuse(self, host: str) -> str:
        """Return why answers of a host may be late, empty where nothing is known."""
        echo, stream = self.ping_monitor.hosts.get(host), self.streams.get(host)
        if echo is not None and echo.loss > 0:
            return f"{echo.loss:.0%} of pings to it are lost"
        if stream is None or stream.refused:
            return ""
        return "no data on its status channel" if self._is_silent_stream(stream) else stream.excuse

    def _hangs(self, stream: HostStream, status_age: float | None, now: float) -> bool:
        """Return whether its channel is silent; one that is refused is another matter.

        So is one for which the fault is on this machine, or on a jump host.
        """
        if stream.refused or stream.unasked:
            return False
        return (now - self.began if status_age is None else status_age) > max(HANGS, self.silent)


def _without_status(stream: HostStream, pinged: float | None) -> tuple[Outcome, str] | None:
    """Return how a silent host looks whose channel is kept closed by another fault than its own."""
    if stream.refused:
        return Outcome.OK, f"reachable, without status: {stream.trouble}"
    if stream.unasked and pinged is None:
        # The fault is not the host's: only pings that it had answered would tell of it.
        return Outcome.UNKNOWN, stream.trouble
    return None
