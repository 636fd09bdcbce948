"""What an API answered, as plain values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer below status 400: header names are in lower case, ``body`` is as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - JSON is whatever the API sends
        """Return the decoded body. Raises ValueError where it is not JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the catalogue says that an API is reached, on the interface that the cloud uses."""

    service_type: str
    url: str
