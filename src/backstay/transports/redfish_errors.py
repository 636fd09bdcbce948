"""Why a Redfish service gave no usable answer, in words, and what to do.

This module imports sushy, which takes its time.
"""

import re
import ssl
from urllib.parse import quote, urlsplit

import requests
import urllib3.exceptions
from sushy.exceptions import AccessError, ConnectionError, HTTPError, SushyError  # noqa: A004

from backstay.errors import BackstayError
from backstay.quantities import size
from backstay.transports import limits
from backstay.transports.bounded_http import among, led_elsewhere, too_long
from backstay.transports.certificate import presented_fingerprint
from backstay.transports.fingerprint import shown
from backstay.transports.redfish_system import Ambiguous
from backstay.transports.targets import BmcTarget
from backstay.transports.urls import redacted, without_secrets

_LONGEST = 300
_BUSY = {408, 409, 423, 425, 429, 500, 502, 503, 504}
"""Statuses of a BMC that may do it a moment later."""
_SESSIONS = re.compile("SessionLimitExceeded|CreateLimitReached|ServiceTemporarilyUnavailable")
_NOT_OFFERED = re.compile(
    "ActionParameter(NotSupported|ValueNotInList|ValueTypeError|ValueFormatError|ValueError)"
    "|ActionNotSupported|PropertyValue(NotInList|Error)|ResetType|not supported|unsupported",
    re.IGNORECASE,
)
_CERTIFICATE_BOUND = 5.0


def is_busy(error: BaseException | None) -> bool:
    """Return whether a BMC may answer a moment later: it is busy, or ended the connection."""
    if isinstance(error, HTTPError):
        return error.status_code in _BUSY or bool(_SESSIONS.search(str(error)))
    return isinstance(error, ConnectionError) and among(error, ssl.SSLError) is None


def is_not_offered(error: HTTPError) -> bool:
    """Return whether it does not know what was ordered, as a type of reset."""
    return error.status_code in {400, 404, 405, 422, 501} and (
        error.status_code != 400 or bool(_NOT_OFFERED.search(f"{error} {error.body}"))
    )


def wants_etag(error: HTTPError) -> bool:
    """Return whether a change was refused for its ETag, or for having none."""
    return error.status_code in {412, 428}


def was_not_sent(error: BaseException) -> bool:
    """Return whether no connection came about, so that nothing was sent."""
    kinds = (
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ConnectTimeoutError,
        urllib3.exceptions.SSLError,
        requests.exceptions.ConnectTimeout,
    )
    text = str(error)
    return any(among(error, kind) for kind in kinds) or any(
        sign in text for sign in ("NewConnectionError", "ConnectTimeout", "SSLError")
    )


def explained(error: BaseException, target: BmcTarget) -> tuple[str, str]:
    """Return what came back, and what to do; empty where that is the usual. It may block."""
    if isinstance(error, Ambiguous):
        return _which_system(error, target)
    if "SSLError" in str(error) or among(error, ssl.SSLError):
        return _distrust(error, target)
    return reason(error), ""


def reason(error: BaseException) -> str:
    """Return why nothing usable came, in words."""
    if isinstance(error, AccessError):
        return "its BMC refuses the user or the password"
    if elsewhere := led_elsewhere(error):
        return f"its BMC leads to {elsewhere.place}: nothing was sent there"
    if too_long(error):
        return f"its BMC's answer is longer than {size(limits.BODY)}: the connection was closed"
    if isinstance(error, ConnectionError):
        found = re.search(r"\[Errno -?\d+\] ([^'\")]+)|(Read timed out)", str(error))
        closed = "it ended the connection" if "Remote end closed" in str(error) else ""
        why = (found[1] or found[2]).strip() if found else closed
        return f"its BMC cannot be reached{f': {why}' if why else ''}"
    said = redacted(str(error)[: 10 * _LONGEST])[:_LONGEST]
    if isinstance(error, SushyError | OSError):
        return said or type(error).__name__
    return f"its BMC's answer is not one of Redfish ({type(error).__name__}: {said})"


def _which_system(error: Ambiguous, target: BmcTarget) -> tuple[str, str]:
    names = ", ".join(error.names) or "none"
    parts = urlsplit(target.url)
    if not error.names:
        return "its BMC has no system", ""
    example = f"{parts.scheme}://{parts.netloc}/redfish/v1/Systems/{quote(error.names[0])}"
    what = f"no system {error.wanted}" if error.wanted else f"{len(error.names)} systems"
    return (
        f"its BMC has {what}: {names}",
        f"name the one of {target.name} in `url` of its `bmc` in cloud.yaml, as {example}",
    )


def _distrust(error: BaseException, target: BmcTarget) -> tuple[str, str]:
    parts = urlsplit(target.url)
    place = without_secrets(target.url)
    try:
        digits = presented_fingerprint(
            parts.hostname or "", parts.port or 443, bound=_CERTIFICATE_BOUND
        )
    except BackstayError as failure:
        return f"its BMC's certificate is not trusted ({_why(error)}); {failure.came_back}", ""
    if target.fingerprint:
        return (
            f"its BMC presents another certificate than the one of `fingerprint`: {shown(digits)}",
            "nothing was sent to it. If it was given a new certificate, compare this with the "
            f"BMC's own page ({place}) and write it as `fingerprint` of `bmc` of {target.name}; "
            "else another machine answers in its place",
        )
    return (
        f"its BMC's certificate is not trusted: {_why(error)}; its fingerprint is {shown(digits)}",
        "compare that with the BMC's own page or console; where it is the same, write under `bmc` "
        f"of {target.name} in cloud.yaml: fingerprint: {shown(digits)} (or name the file of the "
        "authority that has signed it: ca)",
    )


def _why(error: BaseException) -> str:
    text = str(error)
    found = re.search(r"certificate verify failed: ([^(\")]+)", text)
    if found:
        return found[1].strip(" .'")
    if "doesn't match" in text or "match" in text:
        return "it is not for this name or address"
    return "it cannot be verified"
