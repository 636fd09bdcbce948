"""Errors of APIs that gave no answer, for the operator."""

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from backstay import answers
from backstay.answers import clean
from backstay.commands import command
from backstay.errors import ApiError, ApiFailed, ApiNotAsked, ApiRefused, ApiUnreachable
from backstay.jsondata import Json
from backstay.quantities import size
from backstay.transports import limits
from backstay.transports.urls import without_secrets

_LONGEST_EXTRACT = 200
_LONGEST_ERROR = 1 << 16  # of a body that is looked through for a message

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
        "hostname mismatch",
        "its TLS certificate is for another name",
        "use the name in the certificate in the catalogue, or add this one to the certificate",
    ),
    (
        "doesn't match",
        "its TLS certificate is for another name",
        "use the name in the certificate in the catalogue, or add this one to the certificate",
    ),
    (
        "ip address mismatch",
        "its TLS certificate is for another address",
        "use the name in the certificate in the catalogue, or add this address to the certificate",
    ),
    (
        "certificate revoked",
        "its TLS certificate has been revoked",
        "renew the certificate of the endpoint",
    ),
    *(
        (
            words,
            "it answers without TLS",
            "the address says https and the service speaks http: correct the catalogue "
            "(openstack endpoint set --url) or OS_AUTH_URL",
        )
        for words in ("wrong version number", "record layer failure", "packet length too long")
    ),
    *(
        (words, "it asks for a client's certificate", "give one: OS_CERT and OS_KEY")
        for words in ("certificate required", "bad certificate")
    ),
    (
        "handshake failure",
        "it refuses TLS with this machine: versions, ciphers, or no client's certificate",
        "see what it wants: {show} </dev/null",
    ),
    *(
        (
            words,
            "its TLS is too old or too weak for this machine",
            "renew its certificate, or its TLS settings: {show} </dev/null",
        )
        for words in ("key too small", "md too weak", "unsupported protocol", "version too low")
    ),
    (
        "unexpected eof",
        "it closes the connection when TLS begins",
        "is it the port with TLS? {show} </dev/null",
    ),
    (
        "unexpected_eof",
        "it closes the connection when TLS begins",
        "is it the port with TLS? {show} </dev/null",
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
            remedy=f"nothing listens there: is {_port(url)} the port of this service? If it is, "
            "start the service on its host, and find why it ended: "
            f"systemctl --failed; ss -ltnp 'sport = :{_port(url)}'",
        )
    if any(word in reason for word in _NO_NAME):
        return _no_name(attempted, url, reason)
    if any(word in reason for word in _NO_WAY_OUT):
        return ApiNotAsked(
            attempted,
            came_back=f"this machine has no way to {place(url)}: {_last_words(reason)}",
            remedy=f"look at its network: {command('ip', 'route', 'get', _host(url))}",
        )
    if "No route to host" in reason:
        cause = f"no machine answers at {place(url)}, or a router rejects it (no route to host)"
    elif "timed out" in reason:
        cause = f"{place(url)} did not accept the connection in time: no packet came back"
    else:
        cause = f"the connection to {place(url)} was lost"
        if any(word in reason for word in _TLS_PORT):
            return ApiUnreachable(
                attempted,
                came_back=f"{place(url)} wants TLS, and the address says http",
                remedy="write https in the catalogue (openstack endpoint set --url) or OS_AUTH_URL",
            )
    return ApiUnreachable(
        attempted,
        came_back=cause,
        remedy="is its host up, its network connected, and no firewall between? "
        f"{command('ip', 'route', 'get', _host(url))}; "
        f"{command('nc', '-vz', '-w', '3', _host(url), str(_port(url)))}",
    )


_NO_NAME = (
    "Name or service not known",
    "name resolution",
    "No address associated",
    "nodename nor servname",
    "NameResolutionError",
    "label empty or too long",
)
_NO_WAY_OUT = (
    "Network is unreachable",
    "Network is down",
    "Cannot assign requested address",
    "Address family not supported",
    "Operation not permitted",
)
# How a server with TLS answers what is none: by an alert instead of a status line.
_TLS_PORT = ("\\x15\\x03", "BadStatusLine('\x15", 'BadStatusLine("\x15')


def _no_name(attempted: str, url: str, reason: str) -> ApiNotAsked:
    """Return the error for a name that this machine cannot resolve; who was asked is named."""
    name, servers = _host(url), ", ".join(name_servers()) or "its configuration names none"
    if "Temporary failure" in reason or "Try again" in reason:
        return ApiNotAsked(
            attempted,
            came_back=f"the name service ({servers}) gives no answer for {name} in {place(url)}",
            remedy=f"see whether it runs: {command('getent', 'ahosts', name)}; it is named in "
            "/etc/resolv.conf",
        )
    return ApiNotAsked(
        attempted,
        came_back=f"the name in {place(url)} is not known to the name service ({servers})",
        remedy="correct the address in OS_AUTH_URL or the catalogue, or add the name to the name "
        f"service or /etc/hosts: {command('getent', 'ahosts', name)}",
    )


def name_servers(file: Path = Path("/etc/resolv.conf")) -> list[str]:
    """Return the name servers that this machine asks, at most three as resolv.conf(5) has it."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")[:_LONGEST_ERROR]
    except OSError:
        return []
    return [clean(one) for one in re.findall(r"^\s*nameserver\s+(\S+)", text, re.MULTILINE)[:3]]


def _last_words(reason: str) -> str:
    """Return what the kernel said, of a chain of errors in which each repeats the one before."""
    return next((word for word in _NO_WAY_OUT if word in reason), one_line(reason))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


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
    return command("openssl", "s_client", "-connect", f"{urlsplit(url).hostname}:{_port(url)}")


def status(attempted: str, url: str, code: int, body: bytes, *, through: str = "") -> ApiError:
    """Return the error for an answer with an error status; ``through`` a proxy that may be why."""
    message = extract(body)
    came_back = f"{place(url)} answered {code}" + (f": {message}" if message else "")
    if through:
        came_back += f" (asked through the proxy {through}, whose answer it may be)"
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
    if code == 400 and re.search(r"plain HTTP.*(HTTPS|SSL)|SSL-enabled server", message):
        return ApiFailed(
            attempted,
            came_back=f"{place(url)} wants TLS, and the address says http",
            remedy="write https in the catalogue (openstack endpoint set --url) or OS_AUTH_URL",
            status=code,
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


def redirected(attempted: str, url: str, to: str) -> ApiFailed:
    """Return the error for an API that sends its callers to another server."""
    return ApiFailed(
        attempted,
        came_back=f"{place(url)} redirected to {to}: the token was not sent there",
        remedy="if that is where the API is, name it in the catalogue or in OS_AUTH_URL; if it is "
        "not, find out who answers at the first address",
        status=None,
    )


def too_long(attempted: str, url: str) -> ApiFailed:
    """Return the error for an answer that was dropped because of its length."""
    return ApiFailed(
        attempted,
        came_back=f"the answer of {place(url)} is longer than {size(limits.BODY)}: the connection "
        "was closed",
        remedy="something else answers there, or the service is out of order: compare the address "
        "with openstack catalog list",
        status=None,
    )


def odd_answer(attempted: str, url: str, error: Exception) -> ApiFailed:
    """Return the error for an answer whose form is not the API's."""
    return ApiFailed(
        attempted,
        came_back=f"{place(url)} gave an answer that is not of the expected form "
        f"({type(error).__name__}: {one_line(str(error))})",
        remedy="something else answers there (a proxy, a load balancer?): compare the address "
        "with openstack catalog list",
        status=None,
    )


def no_address(attempted: str, url: str) -> ApiFailed:
    """Return the error for an endpoint that is no address."""
    return ApiFailed(
        attempted,
        came_back=f"the catalogue has an endpoint that is no address: {clean(url, longest=200)}",
        remedy="correct it: openstack endpoint list, then openstack endpoint set --url",
        status=None,
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


def no_region(
    attempted: str, service_type: str, interface: str, region: str, there: Iterable[str]
) -> ApiNotAsked:
    """Return the error for a region of which the catalogue has nothing: the setting is wrong."""
    found = no_endpoint(attempted, service_type, interface, region, there)
    return ApiNotAsked(
        attempted,
        came_back=f"{found.came_back}; it knows no region {region} at all",
        remedy=found.remedy,
    )


def left_out(attempted: str, service_type: str, scope: str) -> ApiFailed:
    """Return the error for an endpoint that a token without a project is not shown."""
    return ApiFailed(
        attempted,
        came_back=f"the catalogue of this token, which has {scope} scope and no project, has no "
        f"{service_type} endpoint: those with a project in their address are left out of it",
        remedy="use credentials with a project: OS_PROJECT_NAME and OS_PROJECT_DOMAIN_NAME instead "
        f"of OS_{'SYSTEM_SCOPE' if scope == 'system' else 'DOMAIN_NAME'}",
        status=None,
    )


def not_filled_in(attempted: str, url: str) -> ApiFailed:
    """Return the error for an endpoint whose placeholder for a project was not filled in."""
    return ApiFailed(
        attempted,
        came_back=f"the endpoint {clean(url, longest=200)} has a placeholder for a project that "
        "was not filled in",
        remedy="use credentials with a project (OS_PROJECT_NAME), or correct the endpoint: "
        "openstack endpoint list, then openstack endpoint set --url",
        status=None,
    )


def by_proxy(attempted: str, url: str, proxy: str, reason: str) -> ApiNotAsked:
    """Return the error for a request that came no further than this machine's HTTP proxy."""
    said = "refuses connections" if "Connection refused" in reason else "did not connect"
    if tunnel := re.search(r"Tunnel connection failed: (\d+)", reason):
        said = f"answered {tunnel[1]}"
    elif "timed out" in reason:
        said = "did not accept the connection in time"
    elif "Name or service not known" in reason or "name resolution" in reason:
        said = "has a name that is not known"
    variable = f"{urlsplit(url).scheme}_proxy"
    return ApiNotAsked(
        attempted,
        came_back=f"the proxy {without_secrets(proxy)} {said}; {place(url)} was to be asked "
        "through it",
        remedy=f"correct {variable}, or ask directly: "
        f"export no_proxy=${{no_proxy:+$no_proxy,}}{urlsplit(url).hostname}",
    )


def place(url: str) -> str:
    """Return the address without query, and without a password that may stand in it."""
    return without_secrets(url, path=True)


def extract(body: bytes) -> str:
    """Return an error body's message on one line: of JSON, HTML's title, or the text."""
    try:
        message = _message(answers.read(object, body[:_LONGEST_ERROR]))
    except answers.BadAnswer:
        text = body[:_LONGEST_ERROR].decode("utf-8", "replace")
        title = re.search(r"<title>([^<]*)</title>", text, re.IGNORECASE)
        message = title.group(1) if title else re.sub(r"<[^>]*>", " ", text)
    return one_line(message)


def one_line(text: str) -> str:
    """Return ``text`` on one line without control characters, and not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:_LONGEST_ERROR]).split())
    return clean(line, longest=_LONGEST_EXTRACT)


def _message(answer: Json) -> str:
    """Return the message in OpenStack's error documents: ``{"error": {"message": …}}`` and kin."""
    while isinstance(answer, dict | list):
        if isinstance(answer, list):
            answer = answer[0] if answer else ""
            continue
        for key in ("message", "detail", "faultstring", "description", "title"):
            if isinstance(answer.get(key), str) and answer[key]:
                return str(answer[key])
        inner = [value for value in answer.values() if isinstance(value, dict | list)]
        answer = inner[0] if inner else str(next(iter(answer.values()), ""))
    return str(answer)


def _port(url: str) -> int:
    try:
        parts = urlsplit(url)
        return parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return 80
