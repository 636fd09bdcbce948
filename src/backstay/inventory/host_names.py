"""The hosts of cloud.yaml by every name that they go by."""

from collections.abc import Iterable


def short_name(name: str) -> str:
    """Return a host's name without its domain; an address is returned unchanged. Pure."""
    return name if name.replace(".", "").isdigit() else name.partition(".")[0]


class HostNames:
    """Finds the host that a service, a record or an agent calls by some name.

    A name counts in full first, then without its domain; only then in another case, as names of
    hosts may be written in any (https://www.rfc-editor.org/rfc/rfc4343). A short name that two
    hosts share is nobody's, and so is one that two hosts say they have: a guess could act on the
    wrong host.
    """

    def __init__(self) -> None:
        self._exact: dict[str, str] = {}
        self._any_case: dict[str, set[str]] = {}
        self._short: dict[str, set[str]] = {}
        self._claimed: dict[str, set[str]] = {}

    def add(self, host: str, names: Iterable[str]) -> None:
        """Add names of ``host``, which is its name in cloud.yaml."""
        for name in filter(None, (host, *names)):
            self._exact.setdefault(name, host)
            self._any_case.setdefault(name.lower(), set()).add(host)
            for short in {short_name(name), short_name(name).lower()}:
                self._short.setdefault(short, set()).add(host)

    def claim(self, host: str, name: str) -> None:
        """Add a name that ``host`` itself says it has: it cannot take one that is another's."""
        for each in {name.lower(), short_name(name).lower()} - {""}:
            self._claimed.setdefault(each, set()).add(host)

    def host_of(self, name: str) -> str | None:
        """Return the host's name in cloud.yaml, None where no host, or more than one, matches."""
        if name in self._exact:
            return self._exact[name]
        short = short_name(name)
        hosts = (
            self._short.get(short)
            or self._any_case.get(name.lower())
            or self._short.get(short.lower())
            or self.claimants(name)
        )
        return next(iter(hosts)) if len(hosts) == 1 else None

    def claimants(self, name: str) -> set[str]:
        """Return the hosts that say of themselves that they have this name."""
        lower = name.lower()
        return self._claimed.get(lower) or self._claimed.get(short_name(lower), set())
