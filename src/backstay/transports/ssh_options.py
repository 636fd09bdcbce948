"""What ``ssh`` printed of its configuration, as options of asyncssh.

What asyncssh cannot do, and would make another connection than ``ssh``, is refused in words.
"""

import socket
from collections.abc import Iterable, Sequence
from typing import Any

from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from backstay.errors import NotAsked
from backstay.transports.ssh_command import connecting
from backstay.transports.ssh_config import Way
from backstay.transports.targets import SshTarget

_ALWAYS: dict[str, Any] = {
    "config": None,  # it is read already
    "agent_forwarding": False,  # else the host can sign with every key of the operator's agent
    "x11_forwarding": False,
    "gss_delegate_creds": False,  # the same for Kerberos
    "gss_kex": False,  # its host key would not be asked for
    "x509_trusted_certs": None,  # nor looked up among those that are known
    "env": None,
    "send_env": None,
    "command": None,
    "request_pty": False,
    "compression_algs": ["none"],  # a packet of a few kB may be many MB unpacked
    # Nobody is there to be asked for a password.
    "password_auth": False,
    "kbdint_auth": False,
    "host_based_auth": False,
}
"""Options of every connection, whatever the files say."""
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
# Half the CPU time of asyncssh's first choice, where much is sent.
_FAST = "aes128-gcm@openssh.com"
_ALGORITHMS: dict[str, tuple[str, Iterable[bytes]]] = {
    "kexalgorithms": ("kex_algs", get_kex_algs()),
    "ciphers": ("encryption_algs", get_encryption_algs()),
    "macs": ("mac_algs", get_mac_algs()),
    "pubkeyacceptedalgorithms": ("signature_algs", get_public_key_algs()),
}


def options(target: SshTarget, way: Way) -> dict[str, Any]:
    """Return the options for ``asyncssh.connect``, without keys. Raises NotAsked."""
    if way.option("bindinterface", "none") != "none":
        raise unsupported(target, f"BindInterface {way.option('bindinterface')}", "BindAddress")
    if way.is_on("proxyusefdpass") and way.proxy_command is not None:
        raise unsupported(target, "ProxyUseFdpass yes", "a ProxyCommand that passes on the data")
    found = {
        **_ALWAYS,
        "host": way.host,
        "port": way.port,
        "username": way.user,
        "host_key_alias": way.alias,
        "public_key_auth": logs_in_by_key(way),
        "gss_auth": way.is_on("gssapiauthentication"),
    }
    if way.option("addressfamily") in _FAMILIES:
        found["family"] = _FAMILIES[way.option("addressfamily")]
    if way.option("bindaddress", "none") != "none":
        found["local_addr"] = (way.option("bindaddress"), 0)
    for option, (name, possible) in _ALGORITHMS.items():
        if chosen := _allowed(target, way, option, possible):
            found[name] = sorted(chosen, key=lambda one: one != _FAST)
    return found


def host_key_algorithms(target: SshTarget, way: Way) -> Sequence[str]:
    """Return the kinds of host keys that may be asked for. Raises NotAsked where there is none."""
    possible = [*get_certificate_algs(), *get_public_key_algs()]
    usual = [one.decode() for one in possible if not one.startswith((b"webauthn", b"ssh-dss"))]
    return _allowed(target, way, "hostkeyalgorithms", possible) or usual


def logs_in_by_key(way: Way) -> bool:
    """Return whether a public key may be used to log in."""
    preferred = way.option("preferredauthentications", "none").split(",")
    return way.option("pubkeyauthentication", "true") not in {"no", "false"} and (
        preferred == ["none"] or "publickey" in preferred
    )


def unsupported(target: SshTarget, what: str, instead: str) -> NotAsked:
    """Return the error for an option that would lead elsewhere, or by another way."""
    return NotAsked(
        connecting(target),
        came_back=f"Backstay does not support `{what}` of the SSH configuration",
        remedy=f"take it out for this host; instead: {instead}",
    )


def _allowed(target: SshTarget, way: Way, option: str, possible: Iterable[bytes]) -> list[str]:
    """Return the algorithms of an option that are there; none where the option is not printed."""
    named = way.option(option)
    if not named:
        return []
    here = {one.decode() for one in possible}
    found = [one for one in named.split(",") if one in here]
    if not found:
        raise unsupported(target, f"{option} {named[:200]}", f"one of {', '.join(sorted(here))}")
    return found
