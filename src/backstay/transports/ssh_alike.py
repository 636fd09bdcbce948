"""Which hosts ``ssh`` reads its configuration for alike, so that it is asked once for all of them.

To ask costs some 6 ms of CPU time: with a thousand hosts, more than the whole check. Where files
tell hosts apart by the patterns of ``Host`` alone, those that match the same ones are alike. It is
better to ask once too often: whatever is unusual makes each host its own.
"""

import re
from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field

from backstay.transports.ssh_files import Line

_OTHERWISE = frozenset({"match", "canonicalizehostname", "canonicaldomains", "tag"})
"""Options that tell hosts apart otherwise."""
_BY_HOST = re.compile(r"%[^%duliL]")
"""Tokens that are replaced by something of the host's."""
_PLAIN = re.compile(r"[\w.:*?!\s-]*", re.ASCII)


@dataclass
class _Block:
    """The patterns of a ``Host`` line, and whether it names where the host is."""

    patterns: InitVar[list[str]]
    names: bool = False
    _tests: list[tuple[bool, re.Pattern[str]]] = field(init=False)

    def __post_init__(self, patterns: list[str]) -> None:
        self._tests = [(one.startswith("!"), _regex(one.removeprefix("!"))) for one in patterns]

    def matches(self, host: str) -> bool:
        """Return whether it is for a host, as ssh_config(5) has it."""
        found = False
        for without, test in self._tests:
            if test.fullmatch(host):
                if without:
                    return False
                found = True
        return found


@dataclass
class Patterns:
    """What tells hosts apart in files of settings."""

    blocks: list[_Block] = field(default_factory=list)
    apart: bool = False
    orders: set[str] = field(default_factory=set)
    """What ``HostKeyAlgorithms`` is set to: where a list is named, it is not put in order."""

    @classmethod
    def of(cls, lines: Iterable[Line]) -> "Patterns":
        """Read the lines of all files, included ones where they are included."""
        found = cls([_Block(["*"])])
        file = None
        for line in lines:
            if line.file != file:
                # After a file that was included its includer's block goes on: take it for both.
                file = line.file
                found.blocks.append(_Block(["*"]))
            found.take(line)
        return found

    def take(self, line: Line) -> None:
        """Add a line."""
        if line.option == "host":
            self.apart |= _PLAIN.fullmatch(line.words) is None
            self.blocks.append(_Block(line.words.split()))
        elif line.option == "hostname":
            self.blocks[-1].names = True
        elif line.option == "hostkeyalgorithms":
            self.orders.add(line.words.strip('"'))
        if line.option in _OTHERWISE or (
            line.option != "proxycommand" and _BY_HOST.search(line.words.replace("%%", ""))
        ):
            self.apart = True

    def key(self, host: str) -> str | tuple[bool, ...]:
        """Return what is equal for hosts that are alike; the name of one that is like no other."""
        if self.apart:
            return host
        found = tuple(block.matches(host) for block in self.blocks)
        if any(block.names for block, matches in zip(self.blocks, found, strict=True) if matches):
            return host  # it is called otherwise: that is its own
        return found


def _regex(pattern: str) -> re.Pattern[str]:
    parts = (".*" if one == "*" else "." if one == "?" else re.escape(one) for one in pattern)
    return re.compile("".join(parts))
