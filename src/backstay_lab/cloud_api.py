"""Calls of the lab's cloud's APIs: authenticated, each with a bound, errors as LabError.

For making things (seeding). What the ``check`` command asks goes through ``transports``.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

from backstay.jsondata import Json
from backstay_lab.errors import LabError

if TYPE_CHECKING:
    from keystoneauth1.session import Session
    from requests import Response

CALL_BOUND = 60.0
"""Seconds for one call; an API that hangs is asked again by whoever waits for it."""
ATTEMPTS_TO_CONNECT = 4
PAUSE_TO_CONNECT = 0.5
REMEDY = "backstay check; each host's log: backstay lab shell HOST journalctl -p warning"

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class CloudApi:
    """All APIs of a cloud for one user in one project, both of the domain Default."""

    auth_url: str
    user: str
    project: str
    password: str
    region: str

    def __repr__(self) -> str:
        return f"CloudApi({self.user} in {self.project} at {self.auth_url})"

    @cached_property
    def _session(self) -> "Session":
        from keystoneauth1.identity.v3 import Password  # noqa: PLC0415 - 100 ms
        from keystoneauth1.session import Session  # noqa: PLC0415

        login = Password(
            auth_url=self.auth_url,
            username=self.user,
            password=self.password,
            project_name=self.project,
            user_domain_name="Default",
            project_domain_name="Default",
        )
        return Session(auth=login, timeout=CALL_BOUND)

    def call(
        self,
        method: str,
        service_type: str,
        path: str,
        *,
        json: object = None,
        data: object = None,
        headers: Mapping[str, str] | None = None,
        microversion: str | None = None,
        accept: tuple[int, ...] = (),
    ) -> "Response":
        """Make a call at the catalogue's endpoint of ``service_type`` and return its answer.

        ``accept`` are error statuses that are an answer here. Raises LabError for others and when
        none comes within CALL_BOUND seconds.
        """
        attempted = f"{method} {path} of {service_type} as {self.user} in project {self.project}"
        request = partial(
            self._session.request,
            path,
            method,
            json=json,
            data=data,
            headers=dict(headers or {}),
            raise_exc=False,
            microversion=microversion,
            endpoint_filter={"service_type": service_type, "region_name": self.region},
        )
        answer = _connected(request, attempted)
        if answer.status_code >= 400 and answer.status_code not in accept:
            text = answer.text.strip()[:300]
            raise LabError(
                attempted, came_back=f"status {answer.status_code}: {text}", remedy=REMEDY
            )
        return answer

    def get(self, service_type: str, path: str, *, microversion: str | None = None) -> Json:
        """Return the decoded answer of ``GET path``. Raises LabError."""
        return self.call("GET", service_type, path, microversion=microversion).json()

    def post(
        self, service_type: str, path: str, body: object, *, microversion: str | None = None
    ) -> Json:
        """Return the decoded answer of ``POST path``. Raises LabError."""
        return self.call("POST", service_type, path, json=body, microversion=microversion).json()


def _connected(request: "Callable[[], Response]", attempted: str) -> "Response":
    """Make a request, again where the connection broke; not after a timeout: it may be at work."""
    from keystoneauth1.exceptions import ClientException, ConnectFailure  # noqa: PLC0415

    for attempt in range(1, ATTEMPTS_TO_CONNECT + 1):
        try:
            return request()
        except ConnectFailure as error:
            if attempt == ATTEMPTS_TO_CONNECT:
                raise LabError(attempted, came_back=str(error), remedy=REMEDY) from error
            time.sleep(PAUSE_TO_CONNECT)
        except ClientException as error:
            raise LabError(attempted, came_back=str(error), remedy=REMEDY) from error
    raise AssertionError


def await_answer(
    ask: Callable[[], Answer | None],
    *,
    attempted: str,
    bound: float,
    pause: float = 1.0,
    missing: Callable[[], str] = lambda: "not yet",
) -> Answer:
    """Ask until the answer is not None; raise LabError when that takes over ``bound`` seconds.

    ``missing`` returns what is still missing, for that error. An error of the API does not end
    the wait: it may be starting; the last one is named.
    """
    deadline = time.monotonic() + bound
    while True:
        error: LabError | None = None
        try:
            answer = ask()
        except LabError as raised:
            answer, error = None, raised
        if answer is not None:
            return answer
        if time.monotonic() > deadline:
            last = str(error) if error else missing()
            raise LabError(attempted, came_back=f"{last}, after {bound:.0f} s", remedy=REMEDY)
        time.sleep(pause)
