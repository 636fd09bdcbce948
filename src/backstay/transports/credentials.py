"""OpenStack credentials as ``OS_*`` variables, made into a keystoneauth1 plugin.

Plugins of the usual types are made directly: keystoneauth1.loading looks them up among the entry
points of every installed package, which takes longer than the authentication itself.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backstay.errors import InventoryError
from backstay.transports.tls import Trust, context_of
from backstay.transports.urls import is_web_address, without_secrets

if TYPE_CHECKING:
    from keystoneauth1.identity.v3 import Auth

Variables = Mapping[str, str]

_PASSWORD = frozenset({"password", "v3password"})
_TOKEN = frozenset({"token", "v3token"})
_APPLICATION = frozenset({"v3applicationcredential", "applicationcredential"})
_LOADED = frozenset(
    {
        "v3multifactor",
        "v3oidcaccesstoken",
        "v3oidcclientcredentials",
        "v3oidcpassword",
        "v3totp",
    }
)
"""Types whose plugins keystoneauth1 loads: with its own packages, without a browser or a person."""
_TYPES = _PASSWORD | _TOKEN | _APPLICATION | _LOADED
_PLACEHOLDERS = ("%(", "$(", "{")


def plugin(variables: Variables) -> "Auth":
    """Return the plugin for these credentials; nothing is sent yet.

    Raises InventoryError naming the variables that are missing or do not go together.
    """
    from keystoneauth1.identity import v3  # noqa: PLC0415 - heavy

    kind = auth_type(variables)
    url = auth_url(variables)
    if kind in _LOADED:
        return _loaded(kind, {**variables, "OS_AUTH_URL": url})
    scope = {} if kind in _APPLICATION else _scope(variables)
    if kind in _TOKEN:
        return v3.Token(url, _needed(variables, "OS_TOKEN"), **scope)
    if kind in _APPLICATION:
        # An application credential has its scope within itself; keystone refuses another.
        return v3.ApplicationCredential(
            url,
            _needed(variables, "OS_APPLICATION_CREDENTIAL_SECRET"),
            **_application_credential(variables),
        )
    return v3.Password(url, _needed(variables, "OS_PASSWORD"), **_user(variables), **scope)


def auth_type(variables: Variables) -> str:
    """Return ``OS_AUTH_TYPE``, or what the other variables amount to.

    Raises InventoryError for a type that Backstay does not speak.
    """
    kind = variables.get("OS_AUTH_TYPE") or variables.get("OS_AUTH_PLUGIN") or _guess(variables)
    if kind not in _TYPES:
        raise _wrong(
            f"the authentication type `{kind}` is not supported",
            "use a password, a token or an application credential (v3password, v3token, "
            f"v3applicationcredential); of the others there are {', '.join(sorted(_LOADED))}",
        )
    return kind


def _loaded(kind: str, variables: Variables) -> "Auth":
    """Return the plugin that keystoneauth1 has under that name, with all options that it knows."""
    from keystoneauth1 import loading  # noqa: PLC0415 - heavy
    from keystoneauth1.exceptions import ClientException  # noqa: PLC0415 - heavy

    try:
        loader: Any = loading.get_plugin_loader(kind)
        given: dict[str, Any] = {}
        if kind == "v3multifactor":
            methods = _needed(variables, "OS_AUTH_METHODS").split(",")
            given["auth_methods"] = loader._methods = methods
        for option in loader.get_options():
            names = [option.name, *(former.name for former in option.deprecated)]
            values = (variables.get(f"OS_{name.replace('-', '_').upper()}") for name in names)
            value = next(filter(None, values), option.default)
            if value is None and option.required:
                raise _missing(f"OS_{option.name.replace('-', '_').upper()}")
            if value is not None and option.dest not in given:
                given[option.dest] = value
        made: Auth = loader.load_from_options(**given)
    except (ClientException, ImportError, TypeError, AttributeError) as error:
        raise _wrong(
            f"the authentication type `{kind}` cannot be used: {type(error).__name__}: {error}",
            "compare with its options: openstack help --os-auth-type " + kind,
        ) from error
    return made


def _guess(variables: Variables) -> str:
    if variables.get("OS_APPLICATION_CREDENTIAL_SECRET"):
        return "v3applicationcredential"
    if variables.get("OS_TOKEN") and not variables.get("OS_PASSWORD"):
        return "v3token"
    return "v3password"


def auth_url(variables: Variables) -> str:
    """Return keystone's address with its version, whichever way it was given."""
    url = _needed(variables, "OS_AUTH_URL").rstrip("/")
    if not is_web_address(url):
        raise _wrong(
            f"OS_AUTH_URL is `{without_secrets(url, path=True) if '@' in url else url}`",
            "expected an address such as http://10.0.0.5:5000/v3",
        )
    if any(mark in url for mark in _PLACEHOLDERS):
        raise _wrong("OS_AUTH_URL has a placeholder in it", "write the address out")
    if url.endswith("/v2.0"):
        raise _wrong(
            "OS_AUTH_URL ends in /v2.0, a version that no longer exists",
            f"use {url.removesuffix('v2.0')}v3",
        )
    return url if url.endswith("/v3") else f"{url}/v3"


def _user(variables: Variables) -> dict[str, Any]:
    user_id, name = variables.get("OS_USER_ID"), variables.get("OS_USERNAME")
    if not (user_id or name):
        raise _missing("OS_USERNAME")
    return {"user_id": user_id, "username": name} | _domain(variables, "USER", "user_domain")


def _application_credential(variables: Variables) -> dict[str, Any]:
    identifier = variables.get("OS_APPLICATION_CREDENTIAL_ID")
    if identifier:
        return {"application_credential_id": identifier}
    name = _needed(variables, "OS_APPLICATION_CREDENTIAL_NAME")
    return {"application_credential_name": name} | _user(variables)


def _scope(variables: Variables) -> dict[str, Any]:
    if variables.get("OS_SYSTEM_SCOPE"):
        return {"system_scope": variables["OS_SYSTEM_SCOPE"]}
    if variables.get("OS_TRUST_ID"):
        return {"trust_id": variables["OS_TRUST_ID"]}
    project_id = variables.get("OS_PROJECT_ID") or variables.get("OS_TENANT_ID")
    if project_id:
        return {"project_id": project_id}
    name = variables.get("OS_PROJECT_NAME") or variables.get("OS_TENANT_NAME")
    if name:
        return {"project_name": name} | _domain(variables, "PROJECT", "project_domain")
    if variables.get("OS_DOMAIN_ID"):
        return {"domain_id": variables["OS_DOMAIN_ID"]}
    if variables.get("OS_DOMAIN_NAME"):
        return {"domain_name": variables["OS_DOMAIN_NAME"]}
    raise _missing("OS_PROJECT_NAME (or OS_SYSTEM_SCOPE, OS_DOMAIN_NAME)")


def _domain(variables: Variables, of: str, argument: str) -> dict[str, str]:
    """Return the domain of a user or project; ``default`` where none is given, as OSC has it."""
    identifier = variables.get(f"OS_{of}_DOMAIN_ID")
    name = variables.get(f"OS_{of}_DOMAIN_NAME") or variables.get("OS_DEFAULT_DOMAIN_NAME")
    if identifier or not name:
        default = variables.get("OS_DEFAULT_DOMAIN_ID") or variables.get("OS_DEFAULT_DOMAIN")
        return {f"{argument}_id": identifier or default or "default"}
    return {f"{argument}_name": name}


def trust(variables: Variables) -> Trust:
    """Return what certificates are checked against, and which this side presents.

    Raises InventoryError for a file that is named and cannot be read, or holds none.
    """
    made, bundle = _trust(variables), _bundle(variables)
    names = (bundle or "OS_CACERT", "OS_CERT", "OS_KEY")
    for name, path in zip(names, (made.ca, made.certificate, made.key), strict=True):
        if path is not None:
            _check_file(name, path)
    if any(one is not None for one in (made.ca, made.certificate)):
        try:
            context_of(made)
        except OSError as error:
            raise _wrong(
                f"{', '.join(names[:2])} or {names[2]} is no file of its kind: {error}",
                "name a file of PEM text (-----BEGIN CERTIFICATE-----), and the key that belongs "
                "to the certificate",
            ) from error
    return made


def _check_file(name: str, path: Path) -> None:
    try:
        with path.open("rb") if not path.is_dir() else contextlib.nullcontext():
            return
    except (OSError, ValueError) as error:
        raise _wrong(
            f"{name} is {path}, which cannot be read: {getattr(error, 'strerror', None) or error}",
            f"correct {name} where the credentials are (a relative path is taken from the folder "
            "of the file that names it), or bring the file to this machine",
        ) from error


def _trust(variables: Variables) -> Trust:
    certificate, key = variables.get("OS_CERT"), variables.get("OS_KEY")
    insecure = variables.get("OS_INSECURE", "").lower() == "true"
    bundle = _bundle(variables)
    ca = "" if insecure else (os.environ[bundle] if bundle else variables.get("OS_CACERT"))
    return Trust(
        insecure=insecure,
        ca=Path(ca) if ca else None,
        certificate=Path(certificate) if certificate else None,
        key=Path(key) if certificate and key else None,
    )


def _bundle(variables: Variables) -> str:
    """Return which variable of this process names the authorities, empty where none counts.

    requests obeys them where nothing else is said; whoever asks without it must do the same.
    https://requests.readthedocs.io/en/latest/user/advanced/#ssl-cert-verification
    """
    if variables.get("OS_CACERT"):
        return ""
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return next((name for name in names if os.environ.get(name)), "")


def who(variables: Variables) -> str:
    """Return whom a token is asked for, in words."""
    names = ("USERNAME", "USER_ID", "APPLICATION_CREDENTIAL_NAME", "APPLICATION_CREDENTIAL_ID")
    given = (variables.get(f"OS_{name}") for name in names)
    user = next(filter(None, given), "the token's owner")
    scope = variables.get("OS_PROJECT_NAME") or variables.get("OS_PROJECT_ID")
    return f"{user} of project {scope}" if scope else user


def _needed(variables: Variables, name: str) -> str:
    value = variables.get(name)
    if not value:
        raise _missing(name)
    return value


def _missing(name: str) -> InventoryError:
    return _wrong(f"{name} is not set", "set it in the openrc, in clouds.yaml or the environment")


def _wrong(came_back: str, remedy: str) -> InventoryError:
    return InventoryError("reading the OpenStack credentials", came_back=came_back, remedy=remedy)
