"""Errors of keystoneauth1 and requests as errors for the operator: who did not answer, and why."""

import re
from collections.abc import Mapping

from keystoneauth1 import exceptions

from backstay.errors import ApiError, ApiRefused
from backstay.transports import api_errors, proxies
from backstay.transports.urls import without_secrets

_OF_PROXY = re.compile("proxy|Tunnel connection", re.IGNORECASE)
_MAYBE_OF_PROXY = frozenset({502, 503, 504})
"""Statuses that a proxy answers with, too, where it cannot ask further."""


class RequestErrors:
    """Describes what went wrong with requests.

    ``bound`` is how long one may take, in seconds; ``given`` are the proxies of the credentials.
    """

    def __init__(self, bound: float, given: Mapping[str, str] | None) -> None:
        self._bound = bound
        self._given = given

    def of(self, attempted: str, url: str, error: exceptions.ClientException) -> ApiError:
        """Return what an error of keystoneauth1 means."""
        if isinstance(error, exceptions.SSLError):
            return api_errors.no_tls(attempted, url, str(error))
        if isinstance(error, exceptions.ConnectTimeout):
            return self._not_in_time(attempted, url)
        if isinstance(error, exceptions.Unauthorized):
            return ApiRefused(
                attempted,
                came_back=f"{api_errors.place(url)} refused the credentials (401)",
                remedy="compare user, project, domains and password in the openrc with "
                "those of the identity service",
            )
        if isinstance(error, exceptions.HttpError) and error.response is not None:
            return self.status(attempted, url, error.http_status, error.response.content)
        if isinstance(error, exceptions.InvalidResponse):
            response = error.response
            return api_errors.not_json(attempted, url, response.status_code, response.content)
        return self.not_connected(attempted, url, str(error))

    def status(self, attempted: str, url: str, code: int, body: bytes) -> ApiError:
        """Return the error for an answer with an error status."""
        proxy = proxies.used(url, self._given)
        if proxy is not None and code == 407:
            return api_errors.by_proxy(attempted, url, proxy, f"Tunnel connection failed: {code}")
        through = without_secrets(proxy) if proxy and code in _MAYBE_OF_PROXY else ""
        return api_errors.status(attempted, url, code, body, through=through)

    def _not_in_time(self, attempted: str, url: str) -> ApiError:
        proxy = proxies.used(url, self._given)
        if proxy is not None:
            return api_errors.by_proxy(attempted, url, proxy, "timed out")
        return api_errors.hung(attempted, url, self._bound)

    def not_connected(self, attempted: str, url: str, reason: str) -> ApiError:
        """Return the error for a connection that did not come about, or was lost."""
        proxy = proxies.used(url, self._given)
        if proxy is not None and _OF_PROXY.search(reason):
            return api_errors.by_proxy(attempted, url, proxy, reason)
        return api_errors.not_connected(attempted, url, reason)
