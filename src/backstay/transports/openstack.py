"""The OpenStack APIs over keystoneauth1: one token, one catalogue, every call bounded.

Its methods block and are called from threads, up to ``THREADS`` at a time. keystoneauth1 and
requests take their time to import: import this module where calls are made.
"""

import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import requests
from keystoneauth1 import exceptions
from keystoneauth1.access import AccessInfoV3
from keystoneauth1.session import Session

from backstay import __version__
from backstay.answers import BadAnswer
from backstay.errors import ApiError, ApiFailed, ApiRefused, BackstayError
from backstay.jsondata import Json
from backstay.transports import api_errors, credentials
from backstay.transports.bounded_http import led_elsewhere, session, too_long
from backstay.transports.deadline import Deadline, deadline
from backstay.transports.sent import log_request
from backstay.transports.targets import Endpoint, Reply, joined
from backstay.transports.tls import Trust
from backstay.transports.token import check_token
from backstay.transports.urls import is_web_address

T = TypeVar("T")

THREADS = 32
CONNECT_BOUND = 8.0
_NO_ADDRESS = "one that is no URL at all"
_REPEATABLE = frozenset({"GET", "HEAD"})
_LOST = "Connection aborted"
"""What urllib3 says of a connection that stood and was closed or reset before an answer."""
TOKEN = "X-Auth-Token"  # noqa: S105 - a header's name


class OpenStackApi:
    """The APIs of one cloud; it is the ``Api`` that the services ask.

    ``variables`` are the ``OS_*`` variables. ``region`` and ``interface`` choose among the
    catalogue's endpoints (the variables' own where None). ``bound`` is how long one call may take
    from its beginning to its last byte, in seconds. ``trust`` is what servers' certificates are
    checked against. Raises InventoryError where the variables do not suffice; nothing is sent
    before the first call. The token goes to no other server than those of the catalogue: redirects
    elsewhere are an error.
    """

    def __init__(
        self,
        variables: Mapping[str, str],
        *,
        region: str | None = None,
        interface: str | None = None,
        bound: float = 20.0,
    ) -> None:
        self.region = region or variables.get("OS_REGION_NAME") or None
        given = variables.get("OS_INTERFACE") or variables.get("OS_ENDPOINT_TYPE") or "public"
        self.interface = (interface or given).removesuffix("URL")
        self.bound = bound
        self._plugin = credentials.plugin(variables)
        self._who = _who(variables)
        self.trust = credentials.trust(variables)
        self._session = _session(self.trust, bound)
        self._lock = threading.Lock()
        self._access: AccessInfoV3 | None = None
        self._refusal: BackstayError | None = None
        self._given = False

    @property
    def ca(self) -> Path | None:
        """Return the file that certificates are checked against, None for the system's."""
        return self.trust.ca

    @property
    def auth_url(self) -> str:
        """Return the URL at which tokens are asked for, without ``/auth/tokens``."""
        return str(self._plugin.auth_url)

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the catalogue's endpoints on this interface and region. Raises as ``get``.

        What is no address is left out: who asks that API gets the error.
        """
        return [
            Endpoint(service_type=str(service["type"]), url=endpoint["url"])
            for service in self._token().service_catalog.catalog
            for endpoint in service["endpoints"]
            if endpoint["interface"].removesuffix("URL") == self.interface
            and self.region in {None, endpoint.get("region_id"), endpoint.get("region")}
            and is_web_address(endpoint["url"])
        ]

    def authenticate(self) -> Mapping[str, Any]:
        """Return a fresh token's data: ``user``, ``project``, ``expires_at`` and ``roles``.

        The first call may return the token that another call has just got. Raises as ``get``.
        """
        with self._lock:
            if self._given or (self._access is None and self._refusal is None):
                self._fetch()
            self._given = True
            access = self._current()
        return {
            "user": access.username,
            "project": access.project_name,
            "roles": list(access.role_names or ()),
            "expires_at": access.expires.isoformat() if access.expires else None,
        }

    def pass_for(
        self, service_type: str, path: str, *, refused: str = ""
    ) -> tuple[str, Mapping[str, str]]:
        """Return the address of ``path`` and the headers with which it may be asked for.

        ``refused`` is a token that was refused: another one is asked for. For those who make the
        request by themselves; the headers hold the token. Raises as ``get``.
        """
        access = self._token()
        if refused and access.auth_token == refused:
            access = self._renewed(access)
        url = joined(self._endpoint(access, service_type, f"asking {service_type}"), path)
        return url, {TOKEN: str(access.auth_token), "Accept": "application/json"}

    def get(self, service_type: str, path: str, headers: Mapping[str, str] | None = None) -> Json:
        """Return the decoded JSON of ``GET path``. Raises ApiUnreachable, ApiRefused, ApiFailed."""
        return self._decoded("GET", service_type, path, headers=headers)

    def post(self, service_type: str, path: str, body: Any) -> Any:  # noqa: ANN401 - as get
        """Return the decoded answer to ``POST path``, None where it is empty. Raises as ``get``."""
        return self._decoded("POST", service_type, path, json=body)

    def put(
        self,
        service_type: str,
        path: str,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """PUT ``content``, as ``application/octet-stream`` by default. Raises as ``get``."""
        sent = {"Content-Type": "application/octet-stream"} | dict(headers or {})
        self.request("PUT", service_type, path, data=content, headers=sent)

    def read(self, service_type: str, path: str) -> bytes:
        """Return the body of ``GET path`` as it is. Raises as ``get``."""
        return self.request("GET", service_type, path).body

    def delete(
        self, service_type: str, path: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send ``DELETE path``; 404 is no error: it is gone already. Raises as ``get``."""
        try:
            self.request("DELETE", service_type, path, headers=headers)
        except ApiFailed as error:
            if error.status != 404:
                raise

    def head(self, service_type: str, path: str) -> Mapping[str, str]:
        """Return the response headers (lower-case names) of ``HEAD path``. Raises as ``get``."""
        return self.request("HEAD", service_type, path).headers

    def request(
        self,
        method: str,
        service_type: str,
        path: str,
        *,
        json: object = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request and return the answer; a status of 400 or more raises as ``get``.

        ``path`` begins with ``/`` and is appended to the endpoint as the catalogue gives it; a
        version that both have is there once. ``headers`` may hold a microversion.
        """
        attempted = f"{method} {path.partition('?')[0]} of {service_type}"
        access = self._token()
        url = joined(self._endpoint(access, service_type, attempted), path)
        options: dict[str, Any] = {"json": json} if json is not None else {}
        if data is not None:
            options["data"] = data

        def send(access: AccessInfoV3) -> requests.Response:
            sent = {
                TOKEN: access.auth_token,
                "Accept": "application/json",
                **(headers or {}),
            }
            response: requests.Response = self._bounded(
                attempted,
                url,
                functools.partial(
                    self._session.request,
                    url,
                    method,
                    headers=sent,
                    authenticated=False,
                    raise_exc=False,
                    timeout=(min(CONNECT_BOUND, self.bound), self.bound),
                    **options,
                ),
                repeatable=method in _REPEATABLE,
            )
            return response

        response = send(access)
        if response.status_code == 401:
            # Revoked or expired before its time, by a password change for one: ask once more.
            response = send(self._renewed(access))
        if response.status_code >= 400:
            raise api_errors.status(attempted, url, response.status_code, response.content)
        low = {name.lower(): value for name, value in response.headers.items()}
        return Reply(status=response.status_code, headers=low, body=response.content)

    def _decoded(self, method: str, service_type: str, path: str, **options: Any) -> Any:  # noqa: ANN401
        reply = self.request(method, service_type, path, **options)
        if not reply.body and method != "GET":
            return None
        try:
            return reply.json()
        except ValueError as error:
            attempted = f"{method} {path.partition('?')[0]} of {service_type}"
            where = f"{self._endpoint(self._token(), service_type, attempted)}{path}"
            raise api_errors.not_json(attempted, where, reply.status, reply.body) from error

    def _endpoint(self, access: AccessInfoV3, service_type: str, attempted: str) -> str:
        found = self._endpoints(access, service_type, self.region)
        if found and not is_web_address(found):
            raise api_errors.no_address(attempted, found)
        if found:
            return found
        regions = {
            str(endpoint.get("region_id") or endpoint.get("region"))
            for service in access.service_catalog.catalog
            for endpoint in service.get("endpoints", [])
            if self._endpoints(access, service_type, endpoint.get("region_id"))
        }
        raise api_errors.no_endpoint(attempted, service_type, self.interface, self.region, regions)

    def _endpoints(self, access: AccessInfoV3, service_type: str, region: str | None) -> str | None:
        """Return the endpoint of that type or, failing that, of its newest alias (volumev3)."""
        try:
            by_type = access.service_catalog.get_endpoints_data(
                service_type=service_type, interface=self.interface, region_name=region
            )
        except ValueError:  # keystoneauth1 looks for a version in what is no URL
            return _NO_ADDRESS
        newest_first = sorted(by_type, key=lambda known: (known == service_type, known))[::-1]
        for known in newest_first:
            for endpoint in by_type[known]:
                return str(endpoint.catalog_url)
        return None

    def _token(self) -> AccessInfoV3:
        with self._lock:
            expiring = self._access is not None and self._access.will_expire_soon()
            if expiring or (self._access is None and self._refusal is None):
                self._fetch()
            return self._current()

    def _renewed(self, refused: AccessInfoV3) -> AccessInfoV3:
        with self._lock:
            if self._access is refused:
                self._fetch()
            return self._current()

    def _current(self) -> AccessInfoV3:
        """Return the token, or raise the refusal: threads that wait do not ask one by one."""
        if self._refusal is not None:
            raise self._refusal
        assert self._access is not None  # noqa: S101 - _fetch sets one of the two
        return self._access

    def _fetch(self) -> None:
        self._access, self._refusal = None, None
        attempted = f"asking the identity service for a token as {self._who}"
        url = f"{self._plugin.auth_url}/auth/tokens"
        try:
            access: AccessInfoV3 = self._bounded(
                attempted, url, functools.partial(self._plugin.get_auth_ref, self._session)
            )
            check_token(access)
            self._access = access
        except BadAnswer as error:
            self._refusal = api_errors.odd_answer(attempted, url, error)
        except BackstayError as error:
            self._refusal = error

    def _bounded(
        self,
        attempted: str,
        url: str,
        call: Any,  # noqa: ANN401 - hands on
        *,
        repeatable: bool = False,
    ) -> Any:  # noqa: ANN401 - hands on
        """Make the call within the bound; its errors are for the operator.

        A ``repeatable`` one is sent again where its connection was lost: see ``_sent_again``.
        """
        log_request(attempted, url)
        with deadline(self.bound) as ends:
            try:
                answer = _sent_again(call, ends) if repeatable else call()
            except exceptions.ClientException as error:
                if ends.passed:
                    raise api_errors.hung(attempted, url, self.bound) from error
                if elsewhere := led_elsewhere(error):
                    raise api_errors.redirected(attempted, url, elsewhere.place) from error
                if too_long(error):
                    raise api_errors.too_long(attempted, url) from error
                raise self._described(attempted, url, error) from error
            except requests.RequestException as error:
                if ends.passed:
                    raise api_errors.hung(attempted, url, self.bound) from error
                raise api_errors.not_connected(attempted, url, str(error)) from error
            except Exception as error:
                # Of an answer that keystoneauth1 takes apart without looking what it is.
                if ends.passed:
                    raise api_errors.hung(attempted, url, self.bound) from error
                raise api_errors.odd_answer(attempted, url, error) from error
        if ends.passed:  # headers cut off in their middle are taken for whole ones
            raise api_errors.hung(attempted, url, self.bound)
        return answer

    def _described(self, attempted: str, url: str, error: exceptions.ClientException) -> ApiError:
        if isinstance(error, exceptions.SSLError):
            return api_errors.no_tls(attempted, url, str(error))
        if isinstance(error, exceptions.ConnectTimeout):
            return api_errors.hung(attempted, url, self.bound)
        if isinstance(error, exceptions.Unauthorized):
            return ApiRefused(
                attempted,
                came_back=f"{api_errors.place(url)} refused the credentials (401)",
                remedy="compare user, project, domains and password in the openrc with "
                "those of the identity service",
            )
        if isinstance(error, exceptions.HttpError) and error.response is not None:
            return api_errors.status(attempted, url, error.http_status, error.response.content)
        if isinstance(error, exceptions.InvalidResponse):
            response = error.response
            return api_errors.not_json(attempted, url, response.status_code, response.content)
        return api_errors.not_connected(attempted, url, str(error))


def _sent_again(call: Callable[[], T], ends: Deadline) -> T:
    """Make a call that changes nothing; once more where its connection was lost before an answer.

    A server closes idle connections, and one may just have been taken for the next request.
    https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
    """
    try:
        return call()
    except exceptions.ConnectFailure as error:
        if ends.passed or _LOST not in str(error):
            raise
        return call()


def _who(variables: Mapping[str, str]) -> str:
    names = ("USERNAME", "USER_ID", "APPLICATION_CREDENTIAL_NAME", "APPLICATION_CREDENTIAL_ID")
    given = (variables.get(f"OS_{name}") for name in names)
    user = next(filter(None, given), "the token's owner")
    scope = variables.get("OS_PROJECT_NAME") or variables.get("OS_PROJECT_ID")
    return f"{user} of project {scope}" if scope else user


def _session(trust: Trust, bound: float) -> Session:
    # They log requests at debug level, some with bodies; no level set elsewhere may let them.
    logging.getLogger("keystoneauth").setLevel(logging.WARNING)
    # It warns of headers cut off, with a traceback on stderr; here that becomes an error in words.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return Session(
        session=session(pool_connections=THREADS, pool_maxsize=THREADS),
        verify=trust.verify,
        cert=trust.cert,
        timeout=bound,
        app_name="backstay",
        app_version=__version__,
    )
