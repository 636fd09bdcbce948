"""What the openstack client makes of ``OS_*`` variables: former names, defaults, conflicts.

Where the client would send something that keystone always refuses, or would end with an error of
its own, the error here says which variable is the reason.
https://opendev.org/openstack/osc-lib/src/branch/master/osc_lib/cli/client_config.py
"""

import os
import string
from collections.abc import Mapping
from pathlib import Path

from backstay.errors import InventoryError
from backstay.inventory.openrc import PROXIES

Variables = Mapping[str, str]

_PASSWORD = frozenset({"password", "v3password"})
_TOKEN = frozenset({"token", "v3token"})
_WITH_DEFAULT_DOMAIN = _PASSWORD | {"v3totp"}
_GENERIC = frozenset({"password", "token"})
_FILES = ("OS_CACERT", "OS_CERT", "OS_KEY")
_BASE = frozenset(
    {
        "auth_url",
        "system_scope",
        "domain_id",
        "domain_name",
        "project_id",
        "project_name",
        "tenant_id",
        "tenant_name",
        "project_domain_id",
        "project_domain_name",
        "trust_id",
    }
)
_USER = frozenset({"user_id", "username", "user_name", "user_domain_id", "user_domain_name"})
_DEFAULTS = frozenset({"default_domain_id", "default_domain_name"})
_APPLICATION = frozenset(f"application_credential_{what}" for what in ("id", "name", "secret"))
OPTIONS: Mapping[str, frozenset[str]] = {
    "password": _BASE | _USER | _DEFAULTS | {"password"},
    "v3password": _BASE | _USER | {"password"},
    "token": _BASE | _DEFAULTS | {"token", "auth_token"},
    "v3token": _BASE | {"token", "auth_token"},
    "v3applicationcredential": _BASE | _USER | _APPLICATION,
    "v3totp": _BASE | _USER | {"passcode"},
}
"""What may stand under ``auth`` in clouds.yaml; the client fails on anything else."""


class _NotAsTheClient(Exception):
    """``args`` are what came back and the remedy."""


def completed(found: Variables, attempted: str, folder: Path) -> dict[str, str]:
    """Return the variables as the client takes them, each thing under one name.

    ``attempted`` is what to say in errors. Relative paths of files are taken from ``folder``. Pure.
    Raises InventoryError for what the client does not do, or Backstay does not.
    """
    known = {name: value for name, value in found.items() if value}
    try:
        _refuse_null_bytes(known)
        _refuse_unsupported(known)
        _one_name_each(known)
        _scope_by_domain(known)
        _default_domains(known)
        _filled_in(known)
        _verification(known)
        _check_scope(known)
        _check_domains(known)
    except _NotAsTheClient as error:
        came_back, remedy = error.args
        raise InventoryError(attempted, came_back=came_back, remedy=remedy) from None
    for name in _FILES:
        if name in known:
            known[name] = path_from(folder, known[name])
    return known


def _refuse_null_bytes(found: Variables) -> None:
    for name, value in found.items():
        if "\0" in value:
            raise _NotAsTheClient(f"the value for {name} holds a null byte", "take it out")


def path_from(folder: Path, given: str) -> str:
    """Return the absolute path of a file that a file in ``folder`` names."""
    if "\0" in given:
        return given  # it is refused with all other values
    # Path.expanduser raises RuntimeError where there is no such user.
    return str(folder.absolute() / os.path.expanduser(given))  # noqa: PTH111


def over(cloud: Variables, environment: Variables) -> dict[str, str]:
    """Return a cloud of clouds.yaml with what the environment says beside it. Pure.

    The client reads there what describes the account, the region, interface and certificates.
    """
    left_out = {"OS_CLOUD", "OS_INSECURE", "OS_VERIFY", "OS_ENDPOINT_TYPE", "OS_AUTH_PLUGIN"}
    given = {
        name: value
        for name, value in environment.items()
        if value and name not in left_out and not name.endswith("_ENDPOINT_OVERRIDE")
    }
    for project, tenant in (
        ("OS_PROJECT_ID", "OS_TENANT_ID"),
        ("OS_PROJECT_NAME", "OS_TENANT_NAME"),
    ):
        if tenant in given:
            given.setdefault(project, given.pop(tenant))
    return {**cloud, **given}


def _refuse_unsupported(known: dict[str, str]) -> None:
    version = known.get("OS_IDENTITY_API_VERSION", "")
    if version.startswith("2"):
        raise _NotAsTheClient(
            f"OS_IDENTITY_API_VERSION is {version}, a version that no longer exists",
            "write 3",
        )
    if known.get("OS_SERVICE_PROVIDER"):
        raise _NotAsTheClient(
            "OS_SERVICE_PROVIDER is set: federation between two clouds is not supported",
            "use an account of the cloud that Backstay operates",
        )
    if known.get("OS_TOKEN") and (known.get("OS_ENDPOINT") or known.get("OS_URL")):
        raise _NotAsTheClient(
            "OS_TOKEN and OS_ENDPOINT are set: the authentication type `admin_token`, which has no "
            "catalogue, is not supported",
            "use a password or an application credential",
        )
    former = known.pop("OS_AUTH_PLUGIN", "")
    if former and "OS_AUTH_TYPE" not in known and former not in _PASSWORD:
        raise _NotAsTheClient(
            f"OS_AUTH_PLUGIN is `{former}`, which the openstack client does not read",
            f"name it so: export OS_AUTH_TYPE={former}",
        )
    if "OS_AUTH_TYPE" in known:
        return
    for variable, kind in (
        ("OS_APPLICATION_CREDENTIAL_SECRET", "v3applicationcredential"),
        ("OS_TOKEN", "token"),
    ):
        if known.get(variable) and not known.get("OS_PASSWORD"):
            raise _NotAsTheClient(
                f"{variable} is set and OS_AUTH_TYPE is not: the openstack client then uses a "
                "password",
                f"name the type: export OS_AUTH_TYPE={kind} (auth_type in clouds.yaml)",
            )


def _one_name_each(known: dict[str, str]) -> None:
    known.setdefault("OS_AUTH_TYPE", "password")
    for project, tenant in (
        ("OS_PROJECT_ID", "OS_TENANT_ID"),
        ("OS_PROJECT_NAME", "OS_TENANT_NAME"),
    ):
        if tenant in known:
            known.setdefault(project, known.pop(tenant))
            known.pop(tenant, None)
    interface = known.pop("OS_ENDPOINT_TYPE", "") or known.get("OS_INTERFACE", "")
    if interface:
        known["OS_INTERFACE"] = interface.removesuffix("URL")


def _scope_by_domain(known: dict[str, str]) -> None:
    """Where there is a project, a domain that is given once is that of the user and the project."""
    if not (known.get("OS_PROJECT_ID") or known.get("OS_PROJECT_NAME")):
        return
    for what in ("ID", "NAME"):
        domain = known.pop(f"OS_DOMAIN_{what}", "")
        if domain:
            known.setdefault(f"OS_USER_DOMAIN_{what}", domain)
            known.setdefault(f"OS_PROJECT_DOMAIN_{what}", domain)


def _default_domains(known: dict[str, str]) -> None:
    kind = known["OS_AUTH_TYPE"]
    default = known.pop("OS_DEFAULT_DOMAIN", "") or "default"
    for of in ("USER", "PROJECT"):
        given = known.get(f"OS_{of}_DOMAIN_ID") or known.get(f"OS_{of}_DOMAIN_NAME")
        by_version = known.get("OS_IDENTITY_API_VERSION") == "3"
        if not given and by_version and kind in _WITH_DEFAULT_DOMAIN:
            known[f"OS_{of}_DOMAIN_ID"] = default
    for what in ("ID", "NAME"):
        default = known.pop(f"OS_DEFAULT_DOMAIN_{what}", "")
        if default and kind in _GENERIC:
            known.setdefault(f"OS_USER_DOMAIN_{what}", default)
            known.setdefault(f"OS_PROJECT_DOMAIN_{what}", default)


def _filled_in(known: dict[str, str]) -> None:
    """Fill in what stands in braces in keystone's address: ``https://{region_name}.example.org``."""
    url = known.get("OS_AUTH_URL", "")
    if "{" not in url and "}" not in url:
        return
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(url) if name is not None]
        values = {name: known[f"OS_{name.upper()}"] for name in names}
        known["OS_AUTH_URL"] = url.format_map(values)
    except (KeyError, ValueError, IndexError, AttributeError):
        raise _NotAsTheClient(
            "OS_AUTH_URL has something in braces that is no other setting",
            "write the address out",
        ) from None


def _verification(known: dict[str, str]) -> None:
    insecure, verify = known.pop("OS_INSECURE", ""), known.pop("OS_VERIFY", "")
    no = {"false", "no", "0", "off", "none"}
    if insecure.lower() not in {"", "true", *no}:
        raise _NotAsTheClient(
            f"OS_INSECURE is `{insecure}`: the openstack client takes only `true` for yes, and "
            "checks certificates",
            "write true or false",
        )
    if verify not in {"", "True", "False"}:
        raise _NotAsTheClient(
            "`verify` is a text, which the openstack client takes for a file's name",
            "write verify: true or verify: false, without quotes",
        )
    if insecure.lower() == "true" or verify == "False":
        known["OS_INSECURE"] = "true"


def _check_scope(known: dict[str, str]) -> None:
    """Raise where a token is asked for with more than one scope, as keystoneauth1 does."""
    given = [
        names[0]
        for names in (
            ("OS_PROJECT_NAME", "OS_PROJECT_ID"),
            ("OS_DOMAIN_NAME", "OS_DOMAIN_ID"),
            ("OS_TRUST_ID",),
            ("OS_SYSTEM_SCOPE",),
        )
        if any(known.get(name) for name in names)
    ]
    if len(given) > 1:
        raise _NotAsTheClient(
            f"a token has one scope, and these are set: {', '.join(given)}",
            f"unset all but one: unset {' '.join(given[:-1])}",
        )
    if given and known["OS_AUTH_TYPE"] == "v3applicationcredential":
        raise _NotAsTheClient(
            f"{given[0]} is set: an application credential has its scope within itself, and "
            "the identity service refuses another",
            f"unset {given[0]}, or leave it out",
        )


def _check_domains(known: dict[str, str]) -> None:
    kind = known["OS_AUTH_TYPE"]
    by_name = known.get("OS_USERNAME") and not known.get("OS_USER_ID")
    by_user = kind in _WITH_DEFAULT_DOMAIN or (
        kind == "v3applicationcredential" and not known.get("OS_APPLICATION_CREDENTIAL_ID")
    )
    if by_user and by_name:
        _need_domain(known, "USER")
    if known.get("OS_PROJECT_NAME") and not known.get("OS_PROJECT_ID"):
        _need_domain(known, "PROJECT")


def _need_domain(known: dict[str, str], of: str) -> None:
    if known.get(f"OS_{of}_DOMAIN_ID") or known.get(f"OS_{of}_DOMAIN_NAME"):
        return
    raise _NotAsTheClient(
        f"OS_{of}_DOMAIN_NAME is not set, nor is OS_IDENTITY_API_VERSION=3: a "
        f"{of.lower()}'s name needs a domain",
        f"export OS_{of}_DOMAIN_NAME=Default ({of.lower()}_domain_name in clouds.yaml)",
    )


def is_read(name: str) -> bool:
    """Return whether a variable of the environment is one that credentials are made of. Pure."""
    return name.startswith("OS_") or name.lower() in PROXIES
