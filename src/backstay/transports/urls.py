"""URLs in texts: without the secrets that they hold."""

import re
import socket
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

# A password may hold the quotes that a URL ends with otherwise.
_URL = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://(?:[^\s/]*@)?[^\s'\"<>`]*")
_TRAILING = ".,;:)]}…"
_NONE = "…"


def without_secrets(url: str, *, path: bool = False) -> str:
    """Return what of a URL may be shown: scheme, host and port.

    User, password, query and fragment are never shown. The path only with ``path``: that of a
    webhook mostly is its secret. What is no URL is not shown at all. Pure.
    """
    scheme, found, rest = url.partition("://")
    try:
        parts = urlsplit(url)
    except ValueError:
        return _NONE
    if not found or not parts.scheme:
        return _NONE
    if "@" in rest.removeprefix(parts.netloc):
        # A password with a slash in it? Then what looks like the host is its beginning.
        return f"{scheme}://{_NONE}"
    host = parts.hostname or ""
    place = f"[{host}]" if ":" in host else host
    # Parameters of a path (RFC 3986, 3.3) are values, as those of a query are.
    return f"{parts.scheme}://{place}{_port(parts)}{parts.path.partition(';')[0] if path else ''}"


def _port(parts: SplitResult) -> str:
    try:
        return f":{parts.port}" if parts.port else ""
    except ValueError:  # there is no such port
        return ""


def is_ip_address(text: str) -> bool:
    """Return whether it is an IPv4 or IPv6 address and not a name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_this_machine(host: str) -> bool:
    """Return whether a name or an address leads to this machine and over no network. Pure."""
    return host == "localhost" or (is_ip_address(host) and ip_address(host).is_loopback)


def one_spelling(host: str) -> str:
    """Return a host's name or address in the one spelling of all that mean the same. Pure.

    An IPv4 address may also be written within IPv6 or as inet_aton(3) reads it (``10.9``, one
    number, hexadecimal); a name in any case and with a point at its end.
    """
    host = host.rstrip(".").lower()
    try:
        address = ip_address(host)
    except ValueError:
        try:
            address = ip_address(socket.inet_aton(host))
        except (OSError, ValueError):
            return host
    return (getattr(address, "ipv4_mapped", None) or address).compressed


def is_web_address(url: str) -> bool:
    """Return whether a URL is one that can be asked by HTTP: a host, a port that exists, ASCII.

    A catalogue or another machine's answer may hold anything. Pure.
    """
    try:
        parts = urlsplit(url)
        port_exists = parts.port is None or parts.port > 0
    except ValueError:
        return False
    printable = url.isascii() and url.isprintable() and " " not in url
    return printable and port_exists and parts.scheme in {"http", "https"} and bool(parts.hostname)


def redacted(text: str, *, path: bool = True) -> str:
    """Return a text in which every URL is one without secrets, as ``without_secrets`` has it.

    For what another program says, which may repeat the URL that it was given. Pure.
    """

    def shown(found: re.Match[str]) -> str:
        url = found[0].rstrip(_TRAILING)
        return without_secrets(url, path=path) + found[0][len(url) :]

    return _URL.sub(shown, text)


def secrets_of(url: str) -> list[str]:
    """Return what of a URL is secret, as it stands in it: user with password, and the password."""
    who, found, _ = url.partition("://")[2].rpartition("@")
    password = who.partition(":")[2]
    return [who, password] if found and password else []
