"""Where an API is asked, and what it answered, as plain values."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from backstay.jsondata import Json

_VERSION = re.compile(r"v\d+(\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer below status 400: header names are in lower case, ``body`` is as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Json:
        """Return the decoded body. Raises ValueError where it is not JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the catalogue says that an API is reached, on the interface that the cloud uses."""

    service_type: str
    url: str


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
