"""Which HTTP proxy a request goes through: of the credentials' own variables, else of this process.

https://requests.readthedocs.io/en/latest/user/advanced/#proxies
"""

from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies

import requests.utils

Variables = Mapping[str, str]

_SCHEMES = ("http", "https", "all")


def named(variables: Variables) -> dict[str, str] | None:
    """Return the proxies that variables name, by ``http``, ``https``, ``all`` and ``no``.

    None where they name none: those of this process count, as they do for what is not named. Small
    letters come first.
    """
    found: dict[str, str] = {}
    for name in sorted(variables):  # capital letters first: small ones replace them
        what, ends, _ = name.lower().partition("_proxy")
        if ends and what in {*_SCHEMES, "no"} and name.lower() == f"{what}_proxy":
            found[what] = variables[name]
    return {**getproxies(), **found} if found else None


def of(url: str, given: Mapping[str, str] | None) -> dict[str, str]:
    """Return what requests takes as ``proxies`` for a URL; ``given`` is what ``named`` gave."""
    if given is None:
        return dict(requests.utils.get_environ_proxies(url))
    host = urlsplit(url).hostname or ""
    if _bypassed(host, given.get("no", "")):
        return {}
    return {what: given[what] for what in _SCHEMES if given.get(what)}


def used(url: str, given: Mapping[str, str] | None) -> str | None:
    """Return the proxy that a request to a URL goes through, None where it goes directly."""
    proxy: str | None = requests.utils.select_proxy(url, of(url, given))
    return proxy


def _bypassed(host: str, without: str) -> bool:
    names = [name for name in without.replace(" ", "").split(",") if name]
    if "*" in names:
        return True
    if requests.utils.is_ipv4_address(host):
        return any(
            requests.utils.address_in_network(host, name)
            if requests.utils.is_valid_cidr(name)
            else host == name
            for name in names
        )
    host = host.lower()
    plain = [name.lstrip(".").lower() for name in names]
    return any(host == name or host.endswith(f".{name}") for name in plain)
