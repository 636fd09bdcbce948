"""clouds.yaml, OpenStack's own file of credentials, as ``OS_*`` variables.

https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backstay.errors import InventoryError
from backstay.inventory.document import read_document
from backstay.inventory.mistakes import did_you_mean

_FOLDERS = (Path(), Path("~/.config/openstack"), Path("/etc/openstack"))
_NAMES = ("clouds.yaml", "clouds.yml")
_SECURE_NAMES = ("secure.yaml", "secure.yml")

# Keys beside `auth` and the variables that say the same.
_BESIDE = {
    "region_name": "OS_REGION_NAME",
    "interface": "OS_INTERFACE",
    "endpoint_type": "OS_INTERFACE",
    "cacert": "OS_CACERT",
    "cert": "OS_CERT",
    "key": "OS_KEY",
    "auth_type": "OS_AUTH_TYPE",
}


def read_clouds_yaml(name: str, file: Path | None) -> dict[str, str]:
    """Return the cloud ``name`` of clouds.yaml, as the ``OS_*`` variables that say the same.

    ``file`` is the clouds.yaml, None where the standard places are to be searched
    (OS_CLIENT_CONFIG_FILE, here, ~/.config/openstack, /etc/openstack); a secure.yaml beside it is
    merged in. Raises InventoryError.
    """
    path = file or _find()
    clouds = _clouds(path)
    if name not in clouds:
        known = list(clouds)
        raise _wrong(
            path,
            f"there is no cloud `{name}`{did_you_mean(name, known)}",
            "correct `clouds` in cloud.yaml",
        )
    entry = _merged(clouds[name], _secure(path).get(name, {}))
    if entry.get("profile") or entry.get("cloud"):
        raise _wrong(
            path,
            f"the cloud `{name}` takes values from a profile, which is not read here",
            f"write them out under `{name}` (OS_CLOUD={name} openstack configuration show prints "
            "them), or use an openrc",
        )
    return _variables(entry)


def _find() -> Path:
    named = os.environ.get("OS_CLIENT_CONFIG_FILE")
    places = [Path(named)] if named else []
    places += [folder.expanduser() / name for folder in _FOLDERS for name in _NAMES]
    for place in places:
        if place.is_file():
            return place
    raise InventoryError(
        "looking for clouds.yaml",
        came_back=f"it is in none of {', '.join(map(str, places))}",
        remedy="name it with `file` under `credentials` in cloud.yaml",
    )


def _secure(path: Path) -> Mapping[str, Any]:
    named = os.environ.get("OS_CLIENT_SECURE_FILE")
    places = [Path(named)] if named else [path.with_name(name) for name in _SECURE_NAMES]
    return next((_clouds(place) for place in places if place.is_file()), {})


def _clouds(path: Path) -> Mapping[str, Any]:
    data = read_document(path).data
    clouds = data.get("clouds") if isinstance(data, Mapping) else None
    if not isinstance(clouds, Mapping):
        raise _wrong(path, "it has no `clouds:`", "see the documentation of clouds.yaml")
    return {str(name): entry for name, entry in clouds.items() if isinstance(entry, Mapping)}


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(under)
    for key, value in over.items():
        inner = both.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            both[key] = _merged(inner, value)
        else:
            both[key] = value
    return both


def _variables(entry: Mapping[str, Any]) -> dict[str, str]:
    auth = entry.get("auth")
    variables = {
        f"OS_{key.upper()}": str(value)
        for key, value in (auth.items() if isinstance(auth, Mapping) else ())
        if value is not None
    }
    for key, variable in _BESIDE.items():
        if entry.get(key):
            variables[variable] = str(entry[key])
    if entry.get("verify") is False:
        variables["OS_INSECURE"] = "true"
    for variable in ("OS_CACERT", "OS_CERT", "OS_KEY"):
        if variable in variables:
            variables[variable] = str(Path(variables[variable]).expanduser())
    regions = entry.get("regions")
    if "OS_REGION_NAME" not in variables and isinstance(regions, list) and len(regions) == 1:
        only = regions[0]
        variables["OS_REGION_NAME"] = str(only.get("name") if isinstance(only, Mapping) else only)
    return variables


def _wrong(path: Path, came_back: str, remedy: str) -> InventoryError:
    return InventoryError(f"reading {path}", came_back=came_back, remedy=remedy)
