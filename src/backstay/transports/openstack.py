"""The OpenStack APIs over keystoneauth1: one token, one catalogue, every call bounded.

Its methods block and are called from threads, up to ``THREADS`` at a time. keystoneauth1 and
requests take their time to import: import this module where calls are made.
"""

import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import requests
from keystoneauth1 import exceptions
from keystoneauth1.access import AccessInfoV3
from keystoneauth1.session import Session

from backstay import __version__
from backstay.answers import BadAnswer, read
from backstay.errors import ApiFailed, ApiRefused, BackstayError
from backstay.jsondata import Json
from backstay.transports import api_errors, credentials, proxies
from backstay.transports.bounded_http import led_elsewhere, session, too_long
from backstay.transports.catalogue import Choice
from backstay.transports.deadline import Deadline, deadline
from backstay.transports.discovery import has_version, newest
from backstay.transports.request_errors import RequestErrors
from backstay.transports.sent import log_request
from backstay.transports.targets import Endpoint, Reply, joined
from backstay.transports.tls import Trust
from backstay.transports.token import check_token

T = TypeVar("T")

THREADS = 32
CONNECT_BOUND = 8.0
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
        self._choice = Choice(variables, self.region, self.interface)
        self._plugin = credentials.plugin(variables)
        self._given_url = variables["OS_AUTH_URL"]
        self._who = credentials.who(variables)
        self.trust = credentials.trust(variables)
        self._proxies = through = proxies.named(variables)
        self._errors = RequestErrors(bound, through)
        self._session = _session(self.trust, bound, through)
        self._versions: dict[str, str] = {}
        self._discovering = threading.Lock()
        self._lock = threading.Lock()
        self._access: AccessInfoV3 | None = None
        self._refusal: BackstayError | None = None
        self._given = False

    @property
    def auth_url(self) -> str:
        """Return the URL at which tokens are asked for, without ``/auth/tokens``."""
        return str(self._plugin.auth_url)

    def proxy_for(self, url: str) -> str | None:
        """Return the proxy that a request to a URL goes through, None where it goes directly."""
        return proxies.used(url, self._proxies)

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the catalogue's endpoints on this interface and region. Raises as ``get``.

        What is no address is left out: who asks that API gets the error.
        """
        return self._choice.all_of(self._token())

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
        url = self._address(access, service_type, path, f"asking {service_type}")
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
        attempted = _attempted(method, path, service_type)
        access = self._token()
        url = self._address(access, service_type, path, attempted)
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
            raise self._errors.status(attempted, url, response.status_code, response.content)
        low = {name.lower(): value for name, value in response.headers.items()}
        return Reply(status=response.status_code, headers=low, body=response.content)

    def _decoded(self, method: str, service_type: str, path: str, **options: Any) -> Any:  # noqa: ANN401
        reply = self.request(method, service_type, path, **options)
        if not reply.body and method != "GET":
            return None
        try:
            return reply.json()
        except ValueError as error:
            attempted = _attempted(method, path, service_type)
            where = self._address(self._token(), service_type, path, attempted)
            raise api_errors.not_json(attempted, where, reply.status, reply.body) from error

    def _address(self, access: AccessInfoV3, service_type: str, path: str, attempted: str) -> str:
        """Return where a path is asked for; the version is looked up where neither part has one."""
        endpoint = self._choice.one(access, service_type, attempted)
        if path and not has_version(endpoint) and not has_version(path):
            with self._discovering:
                if endpoint not in self._versions:
                    self._versions[endpoint] = self._discovered(endpoint) or endpoint
            endpoint = self._versions[endpoint]
        return joined(endpoint, path)

    def _discovered(self, url: str, *, major: int | None = None) -> str | None:
        """Return the address of the newest version, None where the server lists none.

        Raises ApiUnreachable where it does not answer at all.
        """
        attempted = f"asking {api_errors.place(url)} for its versions"
        try:
            response: requests.Response = self._bounded(
                attempted,
                url,
                functools.partial(
                    self._session.request,
                    url,
                    "GET",
                    headers={"Accept": "application/json"},
                    authenticated=False,
                    raise_exc=False,
                    timeout=(min(CONNECT_BOUND, self.bound), self.bound),
                ),
                repeatable=True,
            )
            return newest(url, read(Any, response.content), major=major)
        except (ApiFailed, ApiRefused, BadAnswer):
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
            self._find_identity()
            url = f"{self._plugin.auth_url}/auth/tokens"
            access: AccessInfoV3 = self._bounded(
                attempted, url, functools.partial(self._plugin.get_auth_ref, self._session)
            )
            check_token(access)
            self._access = access
        except BadAnswer as error:
            self._refusal = api_errors.odd_answer(attempted, url, error)
        except BackstayError as error:
            self._refusal = error

    def _find_identity(self) -> None:
        """Look up where version 3 is, once, where OS_AUTH_URL does not say it."""
        if not has_version(self._given_url):
            found = self._discovered(self._given_url.rstrip("/"), major=3)
            if found is not None:
                self._plugin.auth_url = found
            self._given_url = self._plugin.auth_url

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
                raise self._errors.of(attempted, url, error) from error
            except requests.RequestException as error:
                if ends.passed:
                    raise api_errors.hung(attempted, url, self.bound) from error
                raise self._errors.not_connected(attempted, url, str(error)) from error
            except Exception as error:
                # Of an answer that keystoneauth1 takes apart without looking what it is.
                if ends.passed:
                    raise api_errors.hung(attempted, url, self.bound) from error
                raise api_errors.odd_answer(attempted, url, error) from error
        if ends.passed:  # headers cut off in their middle are taken for whole ones
            raise api_errors.hung(attempted, url, self.bound)
        return answer


def _attempted(method: str, path: str, service_type: str) -> str:
    """Return a request in words; of an address its query is left out."""
    return f"{method} {path.partition('?')[0] or '/'} of {service_type}"


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


def _session(trust: Trust, bound: float, given: Mapping[str, str] | None) -> Session:
    # They log requests at debug level, some with bodies; no level set elsewhere may let them.
    logging.getLogger("keystoneauth").setLevel(logging.WARNING)
    # It warns of headers cut off, with a traceback on stderr; here that becomes an error in words.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return Session(
        session=session(
            proxies=None if given is None else functools.partial(proxies.of, given=given),
            pool_connections=THREADS,
            pool_maxsize=THREADS,
        ),
        verify=trust.verify,
        cert=trust.cert,
        timeout=bound,
        app_name="backstay",
        app_version=__version__,
    )
