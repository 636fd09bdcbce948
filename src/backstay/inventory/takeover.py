"""cloud.yaml after a replacement: the host has the spare's BMC, the spare is gone. Pure.

The text is changed where it has to be and nowhere else: comments, order and layout are a person's.
A round trip through a YAML library would lay the whole file out anew, and lose the comments that
follow an entry that goes. What came of it is read again and compared with what was wanted, so
a layout that is not supported here (anchors inside what moves, say) is refused, not guessed.
"""

import copy
import difflib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from backstay.errors import InventoryError
from backstay.inventory.document import parse
from backstay.inventory.edits import Edits, Source
from backstay.transports.urls import redacted

_FEW = 2
_BY_HAND = "change it by hand: give {host} the `bmc` of {spare}, take {spare} out of `hosts`, and "
_BY_HAND += "write the old `bmc` of {host} under `fenced`"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """The new text; ``fenced`` is the name under which the lost host stands there now.

    ``diff`` is a unified diff without passwords. ``still`` are the places that name the spare yet.
    """

    text: str
    fenced: str
    diff: str
    still: tuple[str, ...]


def take_over(text: str, *, host: str, spare: str, since: datetime, uuid: str = "") -> TakenOver:
    """Return cloud.yaml with ``spare`` in the place of ``host``.

    The host keeps all that it has but its ``bmc``: that is the spare's now, or none if the spare
    had none, for the old one would switch on a machine that must stay off. ``uuid`` is that of the
    old one's hardware, where it is known. Raises InventoryError
    where the text has no such hosts, or is written in a way that cannot be changed with certainty.
    """
    root, data = _read(text, host, spare)
    hosts, top = _at(root, "hosts"), data["hosts"]
    if not isinstance(hosts, MappingNode) or not {host, spare} <= set(top):
        missing = [name for name in (host, spare) if name not in top]
        raise _unclear(host, spare, f"it has no host {' and no host '.join(missing)}")
    name = _free_name(host, {*top, *(data.get("fenced") or {})})
    old, new = top[host].get("bmc"), top[spare].get("bmc")
    stamp = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    entry: dict[str, Any] = {"was": host, "since": stamp} | ({"bmc": old} if old else {})
    entry |= {"uuid": uuid} if uuid else {}

    edits = Edits(text)
    mine, theirs = _at(hosts, host), _at(hosts, spare)
    if old and new:
        edits.replace(mine, "bmc", edits.source(theirs, "bmc"))
    elif old:
        edits.remove(mine, "bmc")
    elif new:
        edits.append(mine, "bmc", edits.source(theirs, "bmc"))
    for other, node in _entries(hosts):
        if other != spare and spare in (top[other].get("spare_for") or ()):
            edits.drop_item(_at(node, "spare_for"), spare)
    edits.remove(hosts, spare)
    lines = [f"was: {host}", f"since: '{stamp}'"]
    lines += [f"uuid: '{uuid}'"] if uuid else []
    lines += [edits.source(mine, "bmc").entry("bmc")] if old else []
    _add_fenced(edits, root, name, lines)

    changed = edits.text()
    if not _is(changed, _wanted(data, host, spare, name, entry)):
        raise _unclear(host, spare, "its layout is not one that can be edited safely")
    return TakenOver(
        text=changed, fenced=name, diff=difference(text, changed), still=_named(changed, spare)
    )


def give_up(text: str, *, host: str, spare: str, since: datetime, uuid: str = "") -> TakenOver:
    """Return cloud.yaml with ``spare`` under ``fenced``: it has the address of ``host``.

    For a spare that was to take the place of ``host`` and was given up half-way: it is no spare any
    more until it is installed anew. The host itself stays as it is. Raises as ``take_over``.
    """
    root, data = _read(text, host, spare)
    hosts, top = _at(root, "hosts"), data["hosts"]
    if not isinstance(hosts, MappingNode) or spare not in top or len(top) < _FEW:
        raise _unclear(host, spare, f"it has no host {spare} beside others")
    name = spare
    if name in (data.get("fenced") or {}):
        name = _free_name(spare, {*top, *data["fenced"]})
    stamp, bmc = since.strftime("%Y-%m-%dT%H:%M:%SZ"), top[spare].get("bmc")
    entry: dict[str, Any] = {"was": host, "since": stamp} | ({"bmc": bmc} if bmc else {})
    entry |= {"uuid": uuid} if uuid else {}

    edits = Edits(text)
    lines = [f"was: {host}", f"since: '{stamp}'"]
    lines += [f"uuid: '{uuid}'"] if uuid else []
    lines += [edits.source(_at(hosts, spare), "bmc").entry("bmc")] if bmc else []
    edits.remove(hosts, spare)
    _add_fenced(edits, root, name, lines)
    changed = edits.text()

    wanted: dict[str, Any] = copy.deepcopy(dict(data))
    del wanted["hosts"][spare]
    wanted["fenced"] = {**(wanted.get("fenced") or {}), name: entry}
    if not _is(changed, wanted):
        raise _unclear(host, spare, "its layout is not one that can be edited safely")
    return TakenOver(
        text=changed, fenced=name, diff=difference(text, changed), still=_named(changed, spare)
    )


def _add_fenced(edits: Edits, root: MappingNode, name: str, lines: Sequence[str]) -> None:
    """Add an entry under ``fenced``, which is made where it is missing."""
    fenced = _at(root, "fenced")
    if isinstance(fenced, MappingNode) and fenced.value:
        edits.append(fenced, name, Source.of(list(lines), flow=bool(fenced.flow_style)))
    elif fenced is not None:
        edits.replace(root, "fenced", Source.nested(name, list(lines), flow=bool(root.flow_style)))
    else:
        nested = Source.nested(name, list(lines), flow=bool(root.flow_style))
        edits.append(root, "fenced", nested, after="hosts")


def _wanted(
    data: Mapping[str, Any], host: str, spare: str, name: str, entry: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the changed text must hold."""
    wanted: dict[str, Any] = copy.deepcopy(dict(data))
    hosts = wanted["hosts"]
    gone = hosts.pop(spare)
    hosts[host].pop("bmc", None)
    if gone.get("bmc"):
        hosts[host]["bmc"] = gone["bmc"]
    for one in hosts.values():
        if spare in (one.get("spare_for") or ()):
            one["spare_for"] = [other for other in one["spare_for"] if other != spare]
    wanted["fenced"] = {**(wanted.get("fenced") or {}), name: dict(entry)}
    return wanted


def _free_name(host: str, taken: set[str]) -> str:
    """Return ``HOST-old``, or ``HOST-old-2`` and so on where others were replaced before."""
    number, name = 1, f"{host}-old"
    while name in taken:
        number += 1
        name = f"{host}-old-{number}"
    return name


def _read(text: str, host: str, spare: str) -> tuple[MappingNode, dict[str, Any]]:
    try:
        data = parse(Path("cloud.yaml"), text).data
        root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    except InventoryError as error:
        raise _unclear(host, spare, error.came_back) from error
    hosts = data.get("hosts") if isinstance(data, dict) else None
    if not isinstance(root, MappingNode) or not isinstance(hosts, dict):
        raise _unclear(host, spare, "it has no `hosts`")
    if not all(isinstance(one, dict) for one in hosts.values()):
        raise _unclear(host, spare, "a host in it has no `key: value` lines")
    return root, data


def _is(text: str, wanted: Mapping[str, Any]) -> bool:
    """Return whether a text holds what is wanted."""
    try:
        found = parse(Path("cloud.yaml"), text).data
    except InventoryError:
        return False
    return bool(found == wanted)


def _unclear(host: str, spare: str, why: str) -> InventoryError:
    return InventoryError(
        f"writing into cloud.yaml that {spare} is {host} now",
        came_back=why,
        remedy=_BY_HAND.format(host=host, spare=spare),
    )


def _named(text: str, spare: str) -> tuple[str, ...]:
    """Return where the spare is named yet, as ``line N``: a key of its own, a comment."""
    name = re.compile(rf"(?<![\w.-]){re.escape(spare)}(?![\w.-])")
    lines = enumerate(text.splitlines(), 1)
    return tuple(f"line {number}" for number, line in lines if name.search(line))


def _entries(mapping: Node | None) -> list[tuple[str, Node]]:
    if not isinstance(mapping, MappingNode):
        return []
    return [(str(key.value), value) for key, value in mapping.value]


def _at(mapping: Node | None, key: str) -> Node | None:
    return next((value for name, value in _entries(mapping) if name == key), None)


HIDDEN = "…"
_SECRET = re.compile(r"pass(word|phrase)?$|secret|token", re.IGNORECASE)
_ALL = frozenset({"apprise", "environment"})
"""What is beneath these keys is secret, whatever it is called."""


def masked(text: str) -> str:
    """Return a YAML text with ``…`` for each secret; empty where the text is not YAML.

    A secret is what stands under a key that is called so, also as ``{value: …}``; names of files
    and variables are none. Of a URL only scheme, host and port are shown.
    """
    try:
        root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    except YAMLError:
        return ""
    # An anchored value is found once for each alias.
    places = set(_secrets(root, under=False)) if root is not None else set()
    for begins, ends in sorted(places, reverse=True):
        text = text[:begins] + HIDDEN + text[ends:]
    return redacted(text, path=False)


def difference(before: str, after: str) -> str:
    """Return what changes from one text to the other, as a unified diff without secrets."""
    lines = difflib.unified_diff(
        masked(before).splitlines(),
        masked(after).splitlines(),
        "cloud.yaml (before)",
        "cloud.yaml",
        lineterm="",
        n=1,
    )
    return "\n".join(lines)


def _secrets(node: Node, *, under: bool, whole: bool = False) -> Iterator[tuple[int, int]]:
    """Give the places of secrets; with ``under`` the node's key is named like one.

    With ``whole`` everything beneath the node is one.
    """
    if isinstance(node, ScalarNode):
        if under and node.value:
            yield int(node.start_mark.index), int(node.end_mark.index)
    elif isinstance(node, SequenceNode):
        for item in node.value:
            yield from _secrets(item, under=under, whole=whole)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            named = str(key.value)
            inner = named == "value" if under else bool(_SECRET.search(named))
            all_of_it = whole or named in _ALL
            yield from _secrets(value, under=inner or all_of_it, whole=all_of_it)
