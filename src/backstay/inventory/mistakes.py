"""Mistakes in cloud.yaml, each with its line, what was expected, and a suggestion."""

import difflib
import itertools
import types
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from backstay.answers import clean
from backstay.errors import InventoryError
from backstay.inventory.bmc import BmcPlace, place_of
from backstay.inventory.document import Document, Place
from backstay.transports.urls import one_spelling

_MOST_SHOWN = 50
_MOST_READ = 200
_MOST_WORDS = 20
_LONGEST_WORD = 200
_MOST_COMPARED = 500
_MOST_BEHIND_ONE = 100
_SSH_PORT = 22


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake: ``line`` counts from 1, ``place`` is ``hosts.controller.roles``."""

    line: int
    place: str
    what: str


class CloudFileWrong(InventoryError):
    """cloud.yaml holds mistakes; all of them are in ``mistakes``, in the order of the file."""

    def __init__(self, document: Document, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes))
        count = len(self.mistakes)
        shown = "".join(
            f"\n  {document.path}:{mistake.line}: "
            + (f"{clean(mistake.place)}: " if mistake.place else "")
            + clean(mistake.what)
            for mistake in self.mistakes[:_MOST_SHOWN]
        )
        if count > _MOST_SHOWN:
            shown += f"\n  and {count - _MOST_SHOWN} more"
        super().__init__(
            f"reading {document.path}",
            came_back=f"{count} mistake{'s' if count > 1 else ''}{shown}",
            remedy=f"correct {'these lines' if count > 1 else 'this line'}, then try again",
            lines=True,
        )


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return ``; did you mean `x`?``, or the known words where none is near."""
    few = len(word) <= _LONGEST_WORD and len(known) <= _MOST_COMPARED
    near = difflib.get_close_matches(word.lower(), known, n=1) if few else []
    if near:
        return f"; did you mean `{near[0]}`?"
    shown = ", ".join([*itertools.islice(known, _MOST_WORDS)])
    more = f" and {len(known) - _MOST_WORDS} more" if len(known) > _MOST_WORDS else ""
    return f"; expected one of {shown}{more}" if known else ""


def of_model(model: type[BaseModel], error: ValidationError, document: Document) -> list[Mistake]:
    """Translate what pydantic found wrong; values are shown only where they are words."""
    errors = error.errors(include_url=False)[:_MOST_READ]
    places = {tuple(found["loc"]) for found in errors}
    return [
        _mistake(document, tuple(found["loc"]), _in_words(model, found))
        for found in errors
        # A list whose items are all wrong is also called too short: the items say enough.
        if not (
            found["type"] == "too_short" and any(place[:-1] == found["loc"] for place in places)
        )
    ]


def of_duplicates(document: Document) -> list[Mistake]:
    """Return a mistake for each key that stands twice in one mapping."""
    return [
        Mistake(
            line,
            _dotted(place[:-1]),
            f"`{place[-1]}` is here twice; first on line {document.lines[place]}",
        )
        for place, line in document.duplicates
    ]


def of_hosts(document: Document) -> list[Mistake]:
    """Return the mistakes between hosts: shared addresses, unknown hosts, fenced ones in use.

    It reads the raw data, so that these are reported together with all others.
    """
    hosts = document.data.get("hosts") if isinstance(document.data, Mapping) else None
    if not isinstance(hosts, Mapping):
        return []
    known = {str(name): host for name, host in hosts.items() if isinstance(host, Mapping)}
    return [
        *_shared_addresses(document, known),
        *_shared_bmcs(document, known),
        *_unknown_spares(document, known),
        *_fenced_in_use(document, known),
    ]


def of_services(document: Document, known: Collection[str]) -> list[Mistake]:
    """Return a mistake for each service under a ``without`` that Backstay does not know."""
    unknown = ((place, name) for place, name in _withouts(document.data) if name not in known)
    return [
        _mistake(document, place, f"unknown service `{name}`{did_you_mean(name, known)}")
        for place, name in itertools.islice(unknown, _MOST_READ)
    ]


def of_file(document: Document, place: Place, what: str) -> Mistake:
    """Return the mistake that a file which is named at ``place`` cannot be used."""
    return _mistake(document, place, what)


def _withouts(data: Any) -> Iterator[tuple[Place, str]]:  # noqa: ANN401 - any YAML
    holders: list[tuple[Place, Any]] = []
    if isinstance(data, Mapping):
        holders.append((("services",), data.get("services")))
        hosts = data.get("hosts")
        if isinstance(hosts, Mapping):
            holders += [(("hosts", str(name)), host) for name, host in hosts.items()]
    for place, holder in holders:
        names = holder.get("without") if isinstance(holder, Mapping) else None
        if isinstance(names, list):
            yield from (((*place, "without", i), str(name)) for i, name in enumerate(names))


def _shared_addresses(document: Document, hosts: Mapping[str, Mapping[Any, Any]]) -> list[Mistake]:
    mistakes, first = [], dict[tuple[str, str], str]()
    usual = _ssh_port(document.data) or _SSH_PORT
    for name, host in hosts.items():
        port = _ssh_port(host) or usual
        address = host.get("address")
        if address is None:
            continue
        # One address with two ports is two hosts behind one forwarder.
        other = first.setdefault((one_spelling(str(address)), str(port)), name)
        if other != name:
            what = f"`{address}` is also the address of `{other}`"
            mistakes.append(_mistake(document, ("hosts", name, "address"), what))
    return mistakes


def _ssh_port(holder: Mapping[Any, Any]) -> Any:  # noqa: ANN401 - any YAML
    ssh = holder.get("ssh")
    return ssh.get("port") if isinstance(ssh, Mapping) else None


def _shared_bmcs(document: Document, hosts: Mapping[str, Mapping[Any, Any]]) -> list[Mistake]:
    """Find hosts that have one BMC, however its URL is spelled: one would power off the other."""
    mistakes, found = [], defaultdict[str, list[tuple[BmcPlace, str]]](list)
    for name, host in hosts.items():
        place = _bmc_place(host)
        if place is None:
            continue
        there = found[place.host]
        other = next((one for known, one in there if place.is_same(known)), None)
        if other is not None:
            what = f"its BMC is also that of `{other}`: one would power off the other"
            mistakes.append(_mistake(document, ("hosts", name, "bmc"), what))
        elif len(there) < _MOST_BEHIND_ONE:
            there.append((place, name))
    return mistakes


def _unknown_spares(document: Document, hosts: Mapping[str, Mapping[Any, Any]]) -> list[Mistake]:
    mistakes = []
    for name, host in hosts.items():
        spare_for = host.get("spare_for")
        for index, other in enumerate(spare_for if isinstance(spare_for, list) else []):
            place = ("hosts", name, "spare_for", index)
            if other == name:
                mistakes.append(_mistake(document, place, f"`{name}` cannot be its own spare"))
            elif str(other) not in hosts:
                others = [known for known in hosts if known != name]
                what = f"there is no host `{other}`{did_you_mean(str(other), others)}"
                mistakes.append(_mistake(document, place, what))
            if len(mistakes) >= _MOST_READ:
                return mistakes
    return mistakes


def _fenced_in_use(document: Document, hosts: Mapping[str, Mapping[Any, Any]]) -> list[Mistake]:
    """Find hosts that are in use and fenced: by name, or by their BMC, which must be off there."""
    mistakes = []
    fenced = document.data.get("fenced")
    in_use = defaultdict[str, list[tuple[BmcPlace, str]]](list)
    for name, host in hosts.items():
        if used := _bmc_place(host):
            in_use[used.host].append((used, name))
    for name, host in fenced.items() if isinstance(fenced, Mapping) else ():
        place = ("fenced", str(name))
        if str(name) in hosts:
            what = f"`{name}` is under `hosts` too: give the fenced host another name"
            mistakes.append(_mistake(document, place, what))
        behind = _bmc_place(host)
        there = in_use[behind.host] if behind else []
        other = next((one for known, one in there if behind and behind.is_same(known)), None)
        if other is not None:
            what = f"its BMC is that of `{other}`, which is in use"
            mistakes.append(_mistake(document, (*place, "bmc"), what))
    return mistakes


def _bmc_place(host: Any) -> BmcPlace | None:  # noqa: ANN401 - any YAML
    """Return where a host's BMC is, None without one; what is no URL is reported as such."""
    bmc = host.get("bmc") if isinstance(host, Mapping) else None
    return place_of(str(bmc.get("url", ""))) if isinstance(bmc, Mapping) else None


def _mistake(document: Document, place: Place, what: str) -> Mistake:
    return Mistake(document.line(place), _dotted(place), what)


def _dotted(place: Place) -> str:
    return ".".join(str(step) for step in place if isinstance(step, str))


_EXPECTED = {
    "model_type": "a mapping (`key: value` lines)",
    "model_attributes_type": "a mapping (`key: value` lines)",
    "dict_type": "a mapping (`key: value` lines)",
    "tuple_type": "a list",
    "frozen_set_type": "a list",
    "string_type": "text",
    "path_type": "a path",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_pattern_mismatch": "a URL such as https://10.0.0.5:8443",
    "too_short": "at least one",
}


def _in_words(model: type[BaseModel], found: Mapping[str, Any]) -> str:
    place, kind = tuple(found["loc"]), found["type"]
    if kind == "extra_forbidden":
        return f"unknown key `{place[-1]}`{did_you_mean(str(place[-1]), _keys(model, place[:-1]))}"
    if kind == "missing":
        return f"`{place[-1]}` is missing"
    if kind in ("enum", "literal_error"):
        noun = next((str(step) for step in reversed(place) if isinstance(step, str)), "value")
        given = str(found["input"])
        return (
            f"unknown {noun.removesuffix('s')} `{given}`{did_you_mean(given, _words(model, place))}"
        )
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}"
    return str(found["msg"]).removeprefix("Value error, ")


def _type_at(model: type[BaseModel], place: Place) -> Any:  # noqa: ANN401 - a type annotation
    """Follow ``place`` through the annotations of the models."""
    current: Any = model
    for step in place:
        current = _bare(current)
        arguments = get_args(current)
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(step))
            current = field.annotation if field else None
        elif get_origin(current) is dict:
            current = arguments[1]
        else:
            current = arguments[0] if arguments else None
    return _bare(current)


def _bare(annotation: Any) -> Any:  # noqa: ANN401 - a type annotation
    """Take ``Annotated`` and ``| None`` away."""
    while get_origin(annotation) in (Annotated, Union, types.UnionType):
        annotation = get_args(annotation)[0]
    return annotation


def _keys(model: type[BaseModel], place: Place) -> list[str]:
    found = _type_at(model, place)
    is_model = isinstance(found, type) and issubclass(found, BaseModel)
    return list(found.model_fields) if is_model else []


def _words(model: type[BaseModel], place: Place) -> list[str]:
    found = _type_at(model, place)
    if isinstance(found, type) and issubclass(found, Enum):
        return [str(member.value) for member in found]
    return [str(word) for word in get_args(found)]
