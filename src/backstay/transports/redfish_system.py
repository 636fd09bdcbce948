"""What is asked of a Redfish service about one system, with what vendors do differently.

Its functions block, and raise what sushy and requests raise, and PowerError.
https://redfish.dmtf.org/schemas/DSP0266_1.20.0.html, https://redfish.dmtf.org/schemas/v1/
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import sushy
from sushy.connector import Connector
from sushy.exceptions import HTTPError, ResourceNotFoundError

from backstay.answers import clean
from backstay.transports.bounded_http import bound_session, session
from backstay.transports.targets import BmcTarget
from backstay.transports.urls import is_this_machine

_SYSTEMS = "/redfish/v1/Systems"
_PRECONDITION = (412, 428)
"""The statuses by which a BMC asks for an ETag, or for another."""
_SHOWN = 8
_LONGEST = 100


class Ambiguous(Exception):
    """A BMC has several systems and none is named, or none of that name; ``names`` are theirs."""

    def __init__(self, names: Sequence[str], wanted: str) -> None:
        self.names, self.wanted = names, wanted
        super().__init__("it is not known which system is meant")


def system_of(target: BmcTarget, bound: float) -> Any:  # noqa: ANN401 - sushy is untyped
    """Return the system that the target names, or the only one. Raises also Ambiguous."""
    pinned = {"assert_fingerprint": target.fingerprint} if target.fingerprint else {}
    bounds: dict[str, Any] = {"origin": target.url, **pinned}
    if is_this_machine(urlsplit(target.url).hostname or ""):
        bounds["proxies"] = _directly  # its password would go over a network to a proxy
    connector = Connector(
        target.url,
        # A pinned certificate is compared instead, before anything is sent.
        verify=not pinned and (str(target.ca) if target.ca else True),
        server_side_retries=1,
        default_request_timeout=bound / 2,
    )
    # Links in its answers may be whole URLs: the password goes to no other server.
    bound_session(connector._session, **bounds)
    root = sushy.Sushy(
        target.url,
        auth=sushy.auth.BasicAuth(target.username, target.password),
        connector=connector,
        public_connector=session(**bounds),
    )
    if target.system:
        return _named(root, target.system)
    collection = root.get_system_collection()
    members = collection.members_identities
    if len(members) != 1:
        raise Ambiguous([name_of(str(one)) for one in members][:_SHOWN], "")
    return root.get_system(members[0])


def _directly(_url: str) -> dict[str, str]:
    return {}


def name_of(path: str) -> str:
    """Return the last part of a system's path, as it can be shown and written in a URL. Pure."""
    return clean(unquote(urlsplit(path).path.rstrip("/").rpartition("/")[2]), longest=_LONGEST)


def _named(root: Any, name: str) -> Any:  # noqa: ANN401
    try:
        return root.get_system(f"{_SYSTEMS}/{quote(name, safe='')}")
    except ResourceNotFoundError:
        members = root.get_system_collection().members_identities
        raise Ambiguous([name_of(str(one)) for one in members][:_SHOWN], name) from None


def reset_values(system: Any) -> set[str] | None:  # noqa: ANN401
    """Return the types of reset that a system offers; None where it does not say."""
    action = system.json.get("Actions", {}).get("#ComputerSystem.Reset", {})
    allowed = action.get("ResetType@Redfish.AllowableValues")
    where = action.get("@Redfish.ActionInfo")
    if not allowed and isinstance(where, str):
        try:
            found = system._conn.get(where).json()
        except HTTPError:
            return None
        parameters = found.get("Parameters", [])
        allowed = next(
            (one.get("AllowableValues") for one in parameters if one.get("Name") == "ResetType"),
            None,
        )
    return {str(one) for one in allowed} if allowed else None


def reset(system: Any, kind: str) -> None:  # noqa: ANN401
    """Order a reset, whatever the system says that it offers."""
    target = system._get_reset_action_element().target_uri
    system._conn.post(target, data={"ResetType": kind})


def patch(system: Any, data: dict[str, Any]) -> None:  # noqa: ANN401
    """Change properties; with the ETag of what is changed where the BMC wants one, read anew.

    DSP0266, 6.5: a service may refuse a change without ``If-Match`` (428), and one whose ETag is
    not the current one (412). Some want it as the header had it, some as the body, some without the
    mark of a weak one, some only ``*``.
    """
    refused: HTTPError | None = None
    for again in (False, True):
        if again:
            system.refresh()
        for etag in _etags(system):
            try:
                headers = {"If-Match": etag} if etag else {}
                system._conn._op("PATCH", system.path, data=data, headers=headers)
            except HTTPError as error:
                if error.status_code not in _PRECONDITION:
                    raise
                refused = error
            else:
                return
    assert refused is not None  # noqa: S101 - there is always one to try
    raise refused


def _etags(system: Any) -> list[str | None]:  # noqa: ANN401
    """Return the values of If-Match to try, the likeliest first."""
    found: list[str | None] = []
    for etag in (system._get_headers().get("ETag"), system.json.get("@odata.etag")):
        if isinstance(etag, str) and etag.isascii() and etag.isprintable():
            found += [etag, etag.removeprefix("W/")]
    return list(dict.fromkeys([*found, "*", None]))
