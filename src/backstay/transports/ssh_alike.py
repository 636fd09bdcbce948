"""Which hosts ``ssh`` reads its configuration for alike, so that it is asked once for all of them.

To ask costs some 6 ms of CPU time: with a thousand hosts, more than the whole check. Where files
tell hosts apart by the patterns of ``Host`` alone, those for which the same lines hold are alike,
but for where they are (``HostName``). It is better to ask once too often: whatever is unusual makes
each host its own.
"""

import re
from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field

from backstay.transports.ssh_files import Line

_OTHERWISE = frozenset({"match", "canonicalizehostname", "canonicaldomains", "tag"})
"""Options that tell hosts apart otherwise."""
_BY_HOST = re.compile(r"%[^%duliL]")
"""Tokens that are replaced by something of the host's."""
_NAME = re.compile(r"[\w.:-]+", re.ASCII)
_PLAIN = re.compile(r"[\w.:*?!\s-]*", re.ASCII)


@dataclass
class _Block:
    """Lines that hold for the hosts that match ``patterns``, and the block that includes them."""

    patterns: InitVar[list[str]]
    within: "_Block | None" = None
    body: list[tuple[str, str]] = field(default_factory=list)
    name: str | None = None
    """Where the host is, by the first ``HostName``."""
    plain: list[str] = field(init=False)
    """Its patterns where none of them is more than a name; else it is empty."""
    _tests: list[tuple[bool, re.Pattern[str]]] = field(init=False)

    def __post_init__(self, patterns: list[str]) -> None:
        self.plain = [] if set("".join(patterns)) & set("*?!") else patterns
        self._tests = [(one.startswith("!"), _regex(one.removeprefix("!"))) for one in patterns]

    def resumed(self) -> "_Block":
        """Return a block for the lines that come after an included file."""
        block = _Block([], within=self.within)
        block.plain, block._tests = self.plain, self._tests
        return block

    def matches(self, host: str) -> bool:
        """Return whether it is for a host, as ssh_config(5) has it."""
        found = False
        for without, test in self._tests:
            if test.fullmatch(host):
                if without:
                    return False
                found = True
        return found and (self.within is None or self.within.matches(host))


@dataclass(frozen=True, slots=True)
class Alike:
    """What is equal for hosts that are alike; ``host`` is where this one is, by the files."""

    key: object
    host: str | None


@dataclass
class Patterns:
    """What tells hosts apart in files of settings."""

    blocks: list[_Block] = field(default_factory=list)
    apart: bool = False
    orders: set[str] = field(default_factory=set)
    """What ``HostKeyAlgorithms`` is set to: where a list is named, it is not put in order."""

    _indexed: int = 0
    _by_name: dict[str, list[int]] = field(default_factory=dict)
    _others: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, lines: Iterable[Line]) -> "Patterns":
        """Read the lines of all files, included ones where they are included."""
        found, stack = cls(), list[_Block]()
        for line in lines:
            if line.number == 1:  # a file begins, within the block that includes it
                del stack[line.level :]
                stack.append(_Block(["*"], within=stack[-1] if stack else None))
                found.blocks.append(stack[-1])
            elif line.level < len(stack) - 1:
                del stack[line.level + 1 :]
                stack[-1] = stack[-1].resumed()
                found.blocks.append(stack[-1])
            found._take(line, stack)
        return found

    def _take(self, line: Line, stack: list[_Block]) -> None:
        """Add a line to the block that it is in."""
        if line.option == "host":
            self.apart |= _PLAIN.fullmatch(line.words) is None
            stack[-1] = _Block(line.words.split(), within=stack[-1].within)
            self.blocks.append(stack[-1])
        elif line.option == "hostname":
            self.apart |= _NAME.fullmatch(line.words) is None
            stack[-1].name = stack[-1].name or line.words.lower()
        elif line.option:
            stack[-1].body.append((line.option, line.words))
        if line.option == "hostkeyalgorithms":
            self.orders.add(line.words.strip('"'))
        if line.option in _OTHERWISE or (
            line.option != "proxycommand" and _BY_HOST.search(line.words.replace("%%", ""))
        ):
            self.apart = True

    def alike(self, host: str) -> Alike:
        """Return what a host is alike by: the lines that hold for it, in their order."""
        if self.apart:
            return Alike(host, None)
        if self._indexed != len(self.blocks):
            self._index()
        at = sorted([*self._by_name.get(host, ()), *self._others])
        found = [self.blocks[one] for one in at if self.blocks[one].matches(host)]
        name = next((block.name for block in found if block.name), host.lower())
        return Alike(tuple(tuple(block.body) for block in found if block.body), name)

    def _index(self) -> None:
        """Note which blocks are for a name: a thousand may be, and a thousand hosts are asked."""
        self._indexed = len(self.blocks)
        for at, block in enumerate(self.blocks):
            for name in block.plain:
                self._by_name.setdefault(name, []).append(at)
            if not block.plain:
                self._others.append(at)


def _regex(pattern: str) -> re.Pattern[str]:
    parts = (".*" if one == "*" else "." if one == "?" else re.escape(one) for one in pattern)
    return re.compile("".join(parts))
