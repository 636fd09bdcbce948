"""Errors of APIs that gave no answer, for the operator."""

import json
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from backstay.commands import command
from backstay.errors import ApiError, ApiFailed, ApiRefused, ApiUnreachable
from backstay.jsondata import Json

_LONGEST_EXTRACT = 200

# OpenSSL's message -> its meaning, and the remedy.
_TLS = (
    (
        "certificate has expired",
        "its TLS certificate has expired",
        "renew the certificate of the endpoint; see its dates: {show} </dev/null | openssl x509 "
        "-noout -dates",
    ),
    (
        "not yet valid",
        "its TLS certificate is not yet valid",
        "compare the clocks of this machine and of the endpoint: date -u",
    ),
    (
        "self-signed certificate",
        "its TLS certificate is signed by an authority that is not known here",
        "set OS_CACERT to the authority's certificate file",
    ),
    (
        "self signed certificate",
        "its TLS certificate is signed by an authority that is not known here",
        "set OS_CACERT to the authority's certificate file",
    ),
    (
        "unable to get local issuer",
        "its TLS certificate is signed by an authority that is not known here",
        "set OS_CACERT to the authority's certificate file",
    ),
    (
        "mismatch",
        "its TLS certificate is for another name",
        "use the name in the certificate in the catalogue, or add this one to the certificate",
    ),
    (
        "doesn't match",
        "its TLS certificate is for another name",
        "use the name in the certificate in the catalogue, or add this one to the certificate",
    ),
    (
        "wrong version number",
        "it answers without TLS",
        "the address says https and the service speaks http: correct the catalogue or OS_AUTH_URL",
    ),
)


def hung(attempted: str, url: str, bound: float) -> ApiUnreachable:
    """Return the error for an API whose answer was not complete within ``bound`` seconds."""
    return ApiUnreachable(
        attempted,
        came_back=f"{place(url)} gave no complete answer within {bound:g} s",
        remedy=f"the service hangs or is overloaded: look at its log, and restart it; who listens: "
        f"ss -ltnp 'sport = :{_port(url)}'",
    )


def not_connected(attempted: str, url: str, reason: str) -> ApiUnreachable:
    """Return the error for an API that could not be connected to, or that hung up."""
    if "Connection refused" in reason:
        return ApiUnreachable(
            attempted,
            came_back=f"{place(url)} refuses connections",
            remedy="the service does not run: start it on its host, and find why it ended: "
            f"systemctl --failed; ss -ltnp 'sport = :{_port(url)}'",
        )
    if "Name or service not known" in reason or "name resolution" in reason:
        return ApiUnreachable(
            attempted,
            came_back=f"the name in {place(url)} is not known",
            remedy="correct the address in OS_AUTH_URL or the catalogue, or the name service",
        )
    if "No route to host" in reason or "unreachable" in reason:
        cause = f"there is no route to {place(url)}"
    elif "timed out" in reason:
        cause = f"{place(url)} did not accept the connection in time"
    else:
        cause = f"the connection to {place(url)} was lost"
    return ApiUnreachable(
        attempted,
        came_back=cause,
        remedy="is its host up, its network connected, and no firewall between?",
    )


def no_tls(attempted: str, url: str, reason: str) -> ApiUnreachable:
    """Return the error for a TLS connection that did not come about."""
    for message, means, remedy in _TLS:
        if message in reason.lower():
            return ApiUnreachable(
                attempted,
                came_back=f"{place(url)}: {means}",
                remedy=remedy.format(show=_show(url)),
            )
    return ApiUnreachable(
        attempted,
        came_back=f"no TLS with {place(url)}: {one_line(reason)}",
        remedy=f"try by hand: {_show(url)}",
    )


def _show(url: str) -> str:
    """Return the command that shows the certificate of an endpoint."""
    netloc = urlsplit(url).netloc.rpartition("@")[2]
    return command("openssl", "s_client", "-connect", netloc)


def status(attempted: str, url: str, code: int, body: bytes) -> ApiError:
    """Return the error for an answer with an error status."""
    message = extract(body)
    came_back = f"{place(url)} answered {code}" + (f": {message}" if message else "")
    if code == 401:
        return ApiRefused(
            attempted,
            came_back=came_back,
            remedy="the credentials were refused: compare the openrc with openstack user list",
        )
    if code == 403:
        return ApiRefused(
            attempted,
            came_back=came_back,
            remedy="the user may not do this: use credentials with the role admin",
        )
    remedy = (
        "look at the service's log: its database, its message broker or its cache may not answer"
        if code >= 500
        else "is this the endpoint of that service? Compare: openstack catalog list"
    )
    return ApiFailed(attempted, came_back=came_back, remedy=remedy, status=code)


def not_json(attempted: str, url: str, code: int, body: bytes) -> ApiFailed:
    """Return the error for an answer that is not JSON."""
    return ApiFailed(
        attempted,
        came_back=f"{place(url)} answered {code} with something that is not JSON: "
        f"{extract(body) or 'nothing'}",
        remedy="something else answers there (a proxy, a load balancer?): compare the address "
        "with openstack catalog list",
        status=code,
    )


def no_endpoint(
    attempted: str, service_type: str, interface: str, region: str | None, there: Iterable[str]
) -> ApiFailed:
    """Return the error for a catalogue without the endpoint; ``there`` are the regions it has."""
    regions = sorted(set(there))
    where = f" in region {region}" if region else ""
    has = f"; it has one in {', '.join(regions)}" if regions else ""
    return ApiFailed(
        attempted,
        came_back=f"the catalogue has no {interface} {service_type} endpoint{where}{has}",
        remedy="correct `region` in cloud.yaml or OS_REGION_NAME"
        if regions
        else "make the endpoint, or name the service under `services: without:` in cloud.yaml; "
        "see: " + command("openstack", "endpoint", "list", "--service", service_type),
        status=None,
    )


def place(url: str) -> str:
    """Return the address without query, and without a password that may stand in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def extract(body: bytes) -> str:
    """Return an error body's message on one line: of JSON, HTML's title, or the text."""
    text = body.decode("utf-8", "replace")
    try:
        message = _message(json.loads(text))
    except ValueError:
        title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        message = title.group(1) if title else re.sub(r"<[^>]*>", " ", text)
    return one_line(message)


def one_line(text: str) -> str:
    """Return ``text`` on one line without control characters, and not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_EXTRACT else line[: _LONGEST_EXTRACT - 1] + "…"


def _message(answer: Json) -> str:
    """Return the message in OpenStack's error documents: ``{"error": {"message": …}}`` and kin."""
    while isinstance(answer, dict):
        for key in ("message", "detail", "faultstring", "description", "title"):
            if isinstance(answer.get(key), str) and answer[key]:
                return str(answer[key])
        inner = [value for value in answer.values() if isinstance(value, dict | list)]
        answer = inner[0] if inner else str(next(iter(answer.values()), ""))
    if isinstance(answer, list):
        return _message(answer[0]) if answer else ""
    return str(answer)


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
