"""Version discovery: the address of a version, found in the document at an address without one.

https://docs.openstack.org/api-guide/compute/versions.html
"""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from backstay.answers import BadAnswer, convert
from backstay.jsondata import Json

_VERSION = re.compile(r"v(\d+)(?:\.(\d+))?")
_IN_USE = frozenset({"CURRENT", "SUPPORTED", "STABLE", "DEPRECATED", ""})


@dataclass(frozen=True, slots=True)
class _Link:
    rel: str
    href: str


@dataclass(frozen=True, slots=True)
class _Version:
    id: str
    links: list[_Link]
    status: str = ""


def has_version(url: str) -> bool:
    """Return whether a part of a URL's path is a version: ``v2.1``. Pure."""
    try:
        return any(map(_VERSION.fullmatch, urlsplit(url).path.split("/")))
    except ValueError:
        return True  # no URL: who asks it says so


def newest(asked: str, answer: Json, *, major: int | None = None) -> str | None:
    """Return the address of the newest version, of ``major`` only where given. Pure.

    ``answer`` is the document that ``asked`` gave. None where it is no such document. The address
    is on the server that was asked, whatever the document says: a service behind a proxy often
    gives its own name.
    """
    found: list[tuple[tuple[int, int], str]] = []
    for version in _versions(answer):
        number = _VERSION.fullmatch(version.id)
        href = next((link.href for link in version.links if link.rel == "self"), None)
        if number is None or href is None or version.status.upper() not in _IN_USE:
            continue
        key = (int(number[1]), int(number[2] or 0))
        if major in {None, key[0]}:
            found.append((key, href))
    if not found:
        return None
    try:
        here, there = urlsplit(asked), urlsplit(urljoin(f"{asked.rstrip('/')}/", max(found)[1]))
    except ValueError:
        return None
    return urlunsplit((here.scheme, here.netloc, there.path, "", "")).rstrip("/")


def _versions(answer: Json) -> list[_Version]:
    whole: Any = answer if isinstance(answer, dict) else {}
    listed = whole.get("versions", whole.get("version"))
    if isinstance(listed, dict):
        listed = listed.get("values", [listed])
    found = []
    for one in listed if isinstance(listed, list) else ():
        try:
            found.append(convert(_Version, one))
        except BadAnswer:
            continue  # of another form: not a version that could be asked
    return found
