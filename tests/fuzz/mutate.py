"""Recorded answers with mistakes in them, as a faulty or hostile host could give them. Seeded.

``Mutator.value`` changes decoded JSON, ``Mutator.text`` gives JSON text with what only a text can
have (numbers of thousands of digits, nesting of any depth), ``Mutator.raw`` changes bytes, and
``Mutator.answer`` takes any of these::

    mutator = Mutator(seed)
    for _ in range(200):
        read(KIND, mutator.answer(recorded))
"""

import copy
import json
from collections.abc import Callable
from random import Random
from typing import Any

from backstay.jsondata import Json

HOSTILE_TEXTS = (
    "",
    "\ud800",
    "dead\udfff",
    "\x1b]0;title\x07\x1b[2J",
    "a\nb\r\nc\t",
    "\x00\x7f\x9b",
    "\u202egnp.exe\u200b\ufeff",
    "'; DROP TABLE x; --",
    "$(reboot) `reboot` ; reboot",
    "../../../etc/passwd",
    "<script>alert(1)</script>",
    "{ssh} {0} %s %n",
    "-1",
    "1e400",
    "9" * 5000,
    "x" * 100_000,
    "ö€😀" * 50,
    "=\n\n=",
)
NUMBERS = (
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64,
    -(2**64),
    10**40,
    0.5,
    -0.0,
    1e-320,
    1e308,
    -1e308,
)
NO_NUMBERS = (float("nan"), float("inf"), float("-inf"))
CONSTANTS: tuple[Json, ...] = (None, True, False, [], {}, [[]], {"": None}, [None])
_RAW_TEXTS = (
    "9" * 5000,
    "-" + "9" * 400,
    "1e400",
    "1E+99999",
    "[" * 150 + "]" * 150,
    "[" * 20_000 + "]" * 20_000,
    '{"a":' * 20_000 + "1" + "}" * 20_000,
    "[" * 5_000,
    '"\\ud800"',
    '"\\u0000\\u001b"',
    "[" + "[]," * 2_000 + "1]",
    "NaN",
)
_MOST_RAW = 50
"""So often one of these may stand in an answer: what arrives is at most some MB long."""
_MARK = "@raw text {}@"


class Mutator:
    """Makes mutations, the same ones for the same seed and order of calls."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def answer(self, recorded: Json) -> bytes:
        """Return a mutation of an answer as a host could print it."""
        if self.random.random() < 0.7:
            return self.text(recorded)
        return self.raw(json.dumps(recorded).encode())

    def value(self, value: Json, *, changes: int | None = None) -> Json:
        """Return a copy of decoded JSON with one to four places changed, or ``changes``."""
        return self._changed(value, changes, self._anything)

    def text(self, value: Json, *, changes: int | None = None) -> bytes:
        """Return the same as text, with parts besides that no decoded value can be."""
        raw: list[str] = []

        def anything() -> Json:
            if self.random.random() < 0.75:
                return self._anything()
            raw.append(self.random.choice(_RAW_TEXTS))
            return _MARK.format(len(raw) - 1)

        text = json.dumps(self._changed(value, changes, anything))
        for at, part in enumerate(raw):
            text = text.replace(json.dumps(_MARK.format(at)), part, _MOST_RAW)
        return text.encode()

    def raw(self, data: bytes) -> bytes:
        """Return bytes of which some are changed, missing, doubled or added."""
        changed = bytearray(data)
        for _ in range(self.random.randint(1, 4)):
            self.random.choice((self._flip, self._cut, self._double, self._insert))(changed)
        return bytes(changed)

    def _changed(self, value: Json, changes: int | None, anything: Callable[[], Json]) -> Json:
        whole = {"": copy.deepcopy(value)}
        for _ in range(self.random.choice((1, 1, 2, 4)) if changes is None else changes):
            holder, key = self.random.choice(_places(whole))
            self._change(holder, key, anything)
        return whole.get("")

    def _change(self, holder: Any, key: Any, anything: Callable[[], Json]) -> None:
        """Change one member of a list or mapping: its value, its name, whether it is there."""
        kind = self.random.random()
        if kind < 0.65 or key == "":
            holder[key] = anything()
        elif kind < 0.8:
            del holder[key]
        elif isinstance(holder, dict):
            name = self.random.choice((str(anything())[:2000], "unknown", key + "s"))
            holder[name] = holder[key] if kind < 0.9 else anything()
        else:
            large = len(holder) > 100 or len(json.dumps(holder[key])) > 1000
            again = 2 if large else self.random.choice((2, 3, 1000))
            # Copies: a change of one must not be made, and grow, in all of them.
            holder[key:key] = [copy.deepcopy(holder[key]) for _ in range(again)]

    def _anything(self) -> Json:
        kind = self.random.random()
        if kind < 0.4:
            return self.random.choice(HOSTILE_TEXTS)
        if kind < 0.65:
            return self.random.choice(NUMBERS)
        if kind < 0.7:
            return self.random.choice(NO_NUMBERS)
        if kind < 0.9:
            return copy.deepcopy(self.random.choice(CONSTANTS))
        return _nested(self.random.choice((3, 50, 120)))

    def _at(self, data: bytearray) -> int:
        return self.random.randrange(len(data) + 1)

    def _flip(self, data: bytearray) -> None:
        for _ in range(self.random.randint(1, 8)):
            if data:
                data[self.random.randrange(len(data))] = self.random.randrange(256)

    def _cut(self, data: bytearray) -> None:
        first, last = sorted((self._at(data), self._at(data)))
        if self.random.random() < 0.5:
            last = len(data)
        del data[first:last]

    def _double(self, data: bytearray) -> None:
        first, last = sorted((self._at(data), self._at(data)))
        data[first:first] = data[first:last]

    def _insert(self, data: bytearray) -> None:
        part = self.random.choice((*_RAW_TEXTS, "\x00", "\x1b[2J", '"', "\\", "\n", "é"))
        at = self._at(data)
        data[at:at] = part.encode() + bytes([self.random.randrange(256)])


def _places(value: Json) -> list[tuple[Any, Any]]:
    """Return each member of each list and mapping: the holder, and its place there."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    return found


def _nested(depth: int) -> Json:
    value: Json = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value
