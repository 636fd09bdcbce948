"""How often an address may try tokens, in bounded memory."""

import ipaddress
from collections import OrderedDict

TRIES = 5
WITHIN = 300.0
"""An address may fail so often within so many seconds, then it waits."""

_REMEMBERED = 4096


class Attempts:
    """Counts failed logins by address; networks of IPv6 (/64) count as one address."""

    def __init__(self) -> None:
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """Return for how many seconds this address must wait, 0 where it may try."""
        failed = self._recent(address, now)
        return max(0.0, failed[0] + WITHIN - now) if len(failed) >= TRIES else 0.0

    def failed(self, address: str, now: float) -> None:
        """Note a failure. Of too many addresses the one that failed longest ago is forgotten."""
        key = _network(address)
        self._failed[key] = [*self._recent(address, now), now][-TRIES:]
        self._failed.move_to_end(key)
        while len(self._failed) > _REMEMBERED:
            self._failed.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address."""
        self._failed.pop(_network(address), None)

    def _recent(self, address: str, now: float) -> list[float]:
        return [at for at in self._failed.get(_network(address), []) if now - at < WITHIN]


def _network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "elsewhere"
    if ip.version == 6 and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
