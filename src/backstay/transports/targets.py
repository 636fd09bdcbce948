"""Where a host and its BMC are reached, and what a host answered, as plain values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from backstay.answers import read
from backstay.jsondata import Json


class JumpOf(StrEnum):
    """Where a jump host is named."""

    CLOUD_FILE = "`jumps` under `ssh` in cloud.yaml"
    SSH_CONFIG = "ProxyJump in ~/.ssh/config"


@dataclass(frozen=True, slots=True, kw_only=True)
class SshTarget:
    """A host as SSH needs it. ``name`` is the inventory's name, used in messages.

    What is None is as the ``ssh`` command has it. What is given is as if that had it as an option:
    ``port`` as ``-p``, ``user`` as ``-l``, the file ``key`` as ``-i`` with ``IdentitiesOnly``, the
    file ``known_hosts`` as ``UserKnownHostsFile``, ``jumps`` as ``-J``; ``key`` and
    ``known_hosts`` are for these too. ``jump_of`` is set for these themselves: hosts on the way,
    which ``jumps`` of another target or ``ProxyJump`` names.
    """

    name: str
    address: str
    port: int | None = None
    user: str | None = None
    key: Path | None = None
    known_hosts: Path | None = None
    jumps: str | None = None
    jump_of: JumpOf | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BmcTarget:
    """A host's BMC: ``url`` is where Redfish begins, ``ca`` the file its certificate is checked by.

    ``name`` is the host's. ``fingerprint`` is that of the one certificate that is trusted instead
    (SHA-256, 64 hexadecimal digits); ``system`` names the host among several behind one BMC. The
    password is in no ``repr``.
    """

    name: str
    url: str
    username: str
    password: str = field(repr=False)
    ca: Path | None = None
    fingerprint: str = ""
    system: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a script on a host printed, and the operator's clock (Unix seconds) around it.

    ``sent_at`` is just before the script went out, ``received_at`` when its last output was in.
    ``connecting`` is for how many seconds the connection was made and logged in before that; 0
    where it was open already.
    A time that the script read from the host's clock lies between the two when that is right.
    """

    stdout: str
    sent_at: float
    received_at: float
    connecting: float = 0.0


_VERSION = re.compile(r"v\d+(\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer below status 400: header names are in lower case, ``body`` is as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Json:
        """Return the decoded body, its texts clean. Raises BadAnswer where it is not JSON."""
        return read(Any, self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the catalogue says that an API is reached, on the interface that the cloud uses."""

    service_type: str
    url: str

    @property
    def host(self) -> str:
        """Return the name or address in the URL, empty where that cannot be read."""
        parts = url_parts(self.url)
        return (parts.hostname or "") if parts else ""


def url_parts(url: str) -> SplitResult | None:
    """Return the parts of a URL; None where it is none, as a catalogue may hold anything.

    Its host name is not empty, and its port can be read.
    """
    try:
        parts = urlsplit(url)
        return parts if parts.hostname and (parts.port is None or parts.port) else None
    except ValueError:
        return None


def joined(endpoint: str, path: str) -> str:
    """Return endpoint and path as one address; a version that both have is there once.

    Some catalogues have ``http://host:5000`` for identity and some ``http://host:5000/v3``; asked
    for ``/v3/projects``, both give the same.
    """
    endpoint = endpoint.rstrip("/")
    first, _, rest = path.removeprefix("/").partition("/")
    if _VERSION.fullmatch(first) and _VERSION.fullmatch(endpoint.rpartition("/")[2]):
        return f"{endpoint}/{rest}"
    return endpoint + path
