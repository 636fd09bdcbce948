"""The reader for everything that arrives from outside: bounded, typed, its text clean.

Whatever a host, an API, a BMC or a program answers is read here, once, into values of a declared
type: dataclasses, enums, mappings, tuples. Nobody above sees data of another form.
"""

import json
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from backstay.jsondata import Json

if TYPE_CHECKING:  # declarations of services import this module for every command
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

T = TypeVar("T")

MOST_BYTES = 16 * 2**20
BYTES_PER_ITEM = 32
"""How many bytes there must be for each member of a list or mapping, on average: a member that is
two bytes long takes a hundred in memory."""
FEW_ITEMS = 10_000
"""So many there may be in any answer."""
LARGEST = 2**64 - 1
"""Of an integer, in either direction: what kernels count with."""
LONGEST_LINE = 500
_LONGEST_PLACE = 120
_PART = 2**16

# What moves the cursor, changes the order of letters or cannot be encoded: C0 and C1 controls,
# invisible and bidirectional controls, lone surrogates, tags, noncharacters.
# https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing
_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f"
)
_UNCLEAN = re.compile(f"[{_UNSEEN}]")
_NOT_ONE_LINE = re.compile(f"[\t\n{_UNSEEN}]")
_SPACE = re.compile(r"[\t\n\r]+")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_NO_NUMBER = "(no number, or one that is too large)"
"""What stands in place of such a number: where one is expected, only that place is wrong."""

# The same by the bytes of JSON, so that an answer without any of it is decoded only once. Numbers
# are those that are too large, or look like it.
_CONTROLS = bytes((*range(0x09), *range(0x0B, 0x20), 0x7F))
_ESCAPES = (b"\\u", b"\\b", b"\\f", b"\\r")
_LARGE = re.compile(rb"(?<![0-9.])[0-9]{19}|[0-9.][eE]\+?[0-9]{3}")


class BadAnswer(ValueError):
    """An answer that is not of the expected form. Its text is short, clean, and names the place."""

    def __init__(self, what: str, *, place: str = "", is_json: bool = True) -> None:
        super().__init__(clean(f"{place}: {what}" if place else what, longest=300))
        self.place = place
        """Keys and positions to the value, with points between them; empty for the whole."""
        self.is_json = is_json
        """Whether it was JSON at least."""


class TooLarge(BadAnswer):
    """An answer of more bytes, or more items, than are read."""


class _OneLine:
    """Marks a text that is to be one line."""

    def __get_pydantic_core_schema__(
        self,
        source: Any,  # noqa: ANN401 - as pydantic declares it
        handler: "GetCoreSchemaHandler",
    ) -> "CoreSchema":
        from pydantic_core import core_schema  # noqa: PLC0415 - see above

        def one_line(text: str) -> str:
            return clean(text, longest=LONGEST_LINE)

        return core_schema.no_info_after_validator_function(one_line, handler(source))


class _Form:
    """Marks a text that is of one form, such as a UUID."""

    def __init__(self, pattern: re.Pattern[str], name: str) -> None:
        self._pattern, self._name = pattern, name

    def __get_pydantic_core_schema__(
        self,
        source: Any,  # noqa: ANN401 - as pydantic declares it
        handler: "GetCoreSchemaHandler",
    ) -> "CoreSchema":
        from pydantic_core import PydanticCustomError, core_schema  # noqa: PLC0415 - see above

        def checked(text: str) -> str:
            if self._pattern.fullmatch(text):
                return text
            wrong = f"{clean(text, longest=60)!r} is no {self._name}"
            raise PydanticCustomError("form", "{wrong}", {"wrong": wrong})

        return core_schema.no_info_after_validator_function(checked, handler(source))


class _Within:
    """Marks a number that has bounds."""

    def __init__(self, least: float, most: float) -> None:
        self._least, self._most = least, most

    def __get_pydantic_core_schema__(
        self,
        source: Any,  # noqa: ANN401 - as pydantic declares it
        handler: "GetCoreSchemaHandler",
    ) -> "CoreSchema":
        schema: Any = handler(source)
        return {**schema, "ge": self._least, "le": self._most}


Line = Annotated[str, _OneLine()]
"""A text of one line, cut at 500 characters: names, states, reasons."""
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[0-9A-Fa-f]{32}")
Uuid = Annotated[str, _Form(_UUID, "UUID")]
"""The identity of an object, which may stand in a path or a command; keystone's have no hyphens."""
PathPart = Annotated[str, _Form(re.compile(r"[\w-][\w.-]{0,254}", re.ASCII), "name for a path")]
"""An identity or name that may stand in the path of a URL as it is."""
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5,19}")
Mac = Annotated[str, _Form(_MAC, "hardware address")]
"""A hardware address."""
Count = Annotated[int, _Within(0, LARGEST)]
"""An integer that is not negative: bytes, processes, ports."""
Number = Annotated[float, _Within(-1e12, 1e12)]
"""A number that can be counted with and shown."""
Seconds = Annotated[float, _Within(0.0, 2.5e11)]
"""A duration, or a time since 1970 that calendars have: up to the year 9892."""


def clean(text: str, *, longest: int = 4096, lines: bool = False) -> str:
    """Return ``text`` as it may be shown, stored and sent: in one line, or with ``lines`` in many.

    Controls, invisible characters and lone surrogates become U+FFFD. What is longer than
    ``longest`` characters is cut there and ends with an ellipsis. Pure.
    """
    if len(text) <= longest and text.isprintable():
        return text
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if lines:
        return _UNCLEAN.sub(_REPLACEMENT, text.replace("\r\n", "\n"))
    if not _NOT_ONE_LINE.search(text):
        return text
    return _UNCLEAN.sub(_REPLACEMENT, _SPACE.sub(" ", text))


def whole(text: str, *, place: str = "") -> int:
    """Return the integer, not negative, that a text is. Raises BadAnswer with the ``place``."""
    if text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= LARGEST:
        return int(text)
    raise BadAnswer(f"{clean(text, longest=40)!r} is not a number", place=place)


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID, with or without hyphens. Pure."""
    return _UUID.fullmatch(text) is not None


def read(kind: type[T], raw: bytes | str, *, most: int = MOST_BYTES) -> T:
    """Return what ``raw``, JSON of at most ``most`` bytes, says, as a value of ``kind``.

    ``kind`` is whatever pydantic can check: a dataclass (unknown keys are ignored), ``list[...]``,
    ``tuple[...]``, ``Mapping[...]``, an enum. Checks are strict: a number is no text, a text is no
    number, NaN and what passes 64 bits or a float are neither. All texts are cleaned, keys too;
    their lines are left. Raises BadAnswer for everything else: too deep (200), no JSON; TooLarge
    for what is too long or has too many items.
    """
    data = raw.encode(errors="surrogatepass") if isinstance(raw, str) else bytes(raw)
    if len(data) > most:
        raise TooLarge(f"more than {most} bytes")
    _count(data, max(FEW_ITEMS, most // BYTES_PER_ITEM))
    if not _is_plain(data):
        data = _cleaned(data)
    return _checked(kind, data)


def convert(kind: type[T], value: Json) -> T:
    """Return ``value``, decoded JSON, as a value of ``kind``: see ``read``. Raises BadAnswer."""
    try:
        text = json.dumps(value)
    except RecursionError:
        raise BadAnswer("nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise BadAnswer(f"not JSON data: {error}") from None
    return read(kind, text, most=4 * MOST_BYTES)  # escapes are up to six bytes for one


def part(kind: type[T], value: Json) -> T:
    """Return a part of a value that ``read`` gave, as a value of ``kind``. Raises BadAnswer.

    It is clean and within the bounds already: only its form is checked.
    """
    return _checked(kind, json.dumps(value).encode())


def _count(data: bytes, most: int) -> None:
    """Raise TooLarge where there are too many items, before each takes its memory."""
    if _items(data) <= most:
        return
    # Those in texts do not count. A part at a time: the pieces between quotes are many.
    unescaped = data.replace(rb"\\", b"").replace(rb"\"", b"")
    found = quotes = 0
    for start in range(0, len(unescaped), _PART):
        pieces = unescaped[start : start + _PART].split(b'"')
        found += sum(map(_items, pieces[quotes % 2 :: 2]))
        quotes += len(pieces) - 1
        if found > most:
            raise TooLarge(f"more than {most} items")


def _items(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _is_plain(data: bytes) -> bool:
    """Return whether no text can need cleaning and no number can be too large."""
    return (
        data.isascii()
        and len(data.translate(None, _CONTROLS)) == len(data)
        and not (b"\\" in data and any(escape in data for escape in _ESCAPES))
        and b"NaN" not in data
        and b"Infinity" not in data
        and not _LARGE.search(data)
    )


def _cleaned(data: bytes) -> bytes:
    """Return the same JSON with clean texts. Raises BadAnswer."""
    try:
        value = json.loads(
            data.decode(errors="replace"),
            strict=False,  # a control character in a text is cleaned as an escaped one is
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_no_number,
        )
        return json.dumps(_clean_all(value)).encode()
    except RecursionError:
        raise BadAnswer("nested too deeply") from None
    except ValueError as error:
        raise BadAnswer(f"not JSON: {error}", is_json=False) from None


def _clean_all(value: Json) -> Json:
    if isinstance(value, str):
        return clean(value, longest=len(value), lines=True)
    if isinstance(value, list):
        return [_clean_all(item) for item in value]
    if isinstance(value, dict):
        return {_clean_all(key): _clean_all(item) for key, item in value.items()}
    return value


def _integer(text: str) -> int | str:
    too_large = len(text) > 21 or abs(int(text)) > LARGEST
    return _NO_NUMBER if too_large else int(text)


def _finite(text: str) -> float | str:
    return number if math.isfinite(number := float(text)) else _NO_NUMBER


def _no_number(_text: str) -> str:
    return _NO_NUMBER


def _checked(kind: type[T], data: bytes) -> T:
    reader = _READERS.get(kind) or _reader(kind)
    try:
        value: T = reader(data, strict=True)
    except ValueError as error:  # pydantic's is one
        raise _bad(error) from None
    return value


_READERS: dict[Any, Callable[..., Any]] = {}


def _reader(kind: Any) -> Callable[..., Any]:  # noqa: ANN401 - a type, or a form of typing
    from pydantic import TypeAdapter  # noqa: PLC0415 - see above

    _READERS[kind] = TypeAdapter(kind).validator.validate_json
    return _READERS[kind]


def _bad(error: ValueError) -> BadAnswer:
    """Return the first mistake that pydantic reports, in words."""
    from pydantic import ValidationError  # noqa: PLC0415 - see above

    if not isinstance(error, ValidationError):
        return BadAnswer(str(error))
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(step)[:_LONGEST_PLACE] for step in first["loc"][:8])
    if first["type"] == "json_invalid":
        reason = first["msg"].removeprefix("Invalid JSON: ")
        if reason.startswith("recursion limit"):
            return BadAnswer("nested too deeply")
        return BadAnswer(f"not JSON: {reason}", is_json=False)
    if first["type"] == "missing":
        return BadAnswer("missing", place=place)
    expected = first["msg"].removeprefix("Input should be ")
    if expected == first["msg"]:
        return BadAnswer(expected, place=place)
    return BadAnswer(f"{expected.replace('a valid ', 'a ', 1)} expected", place=place)
