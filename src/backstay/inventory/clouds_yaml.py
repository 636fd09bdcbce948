"""A cloud of clouds.yaml as the ``OS_*`` variables that say the same.

It is read as openstacksdk reads it, which is YAML 1.1: ``no`` is a boolean, ``0123`` an octal
number. https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from backstay.errors import InventoryError
from backstay.inventory.client_rules import OPTIONS, path_from
from backstay.inventory.document import read_document
from backstay.inventory.mistakes import did_you_mean

_SUFFIXES = (".yaml", ".yml", ".json")
_FORMER = {"auth_token": "token", "user_name": "username"}
_LISTS = frozenset({"auth_methods"})


def read_clouds_yaml(
    name: str, file: Path | None, *, region: str = "", beside: Path | None = None
) -> dict[str, str]:
    """Return the cloud ``name`` of clouds.yaml, as the ``OS_*`` variables that say the same.

    ``file`` is the clouds.yaml, None where the standard places are to be searched
    (OS_CLIENT_CONFIG_FILE, ``beside`` or here, ~/.config/openstack, /etc/openstack); a secure.yaml
    is merged in, a profile is looked up in clouds-public.yaml. ``region`` is one that is asked for.
    Paths in it are taken from the folder of the file. Raises InventoryError.
    """
    folders = _folders(beside)
    path = file or _find(folders)
    clouds = dict(_clouds(path))
    for other, entry in _secure(path, folders).items():
        clouds[other] = _merged(clouds.get(other, {}), entry)
    if name not in clouds:
        raise _wrong(
            path,
            f"there is no cloud `{name}`{did_you_mean(name, list(clouds))}",
            "correct `clouds` in cloud.yaml",
        )
    entry = _with_profile(path, name, _normal(clouds[name]), folders)
    entry = _with_region(path, name, entry, region)
    variables = _variables(path, name, entry)
    for variable in ("OS_CACERT", "OS_CERT", "OS_KEY"):
        if variables.get(variable):
            variables[variable] = path_from(path.parent, variables[variable])
    return variables


def _folders(beside: Path | None) -> list[Path]:
    config = os.environ.get("XDG_CONFIG_HOME")
    places = [beside or Path(), Path(config) / "openstack" if config else None]
    places += [Path("~/.config/openstack"), Path("/etc/xdg/openstack"), Path("/etc/openstack")]
    return [Path(path_from(Path(), str(place))) for place in places if place is not None]


def _find(folders: Iterable[Path]) -> Path:
    named = os.environ.get("OS_CLIENT_CONFIG_FILE")
    places = [Path(named)] if named else []
    places += _named("clouds", folders)
    for place in places:
        if place.is_file():
            return place
    raise InventoryError(
        "looking for clouds.yaml",
        came_back=f"it is in none of {', '.join(map(str, places))}",
        remedy="name it with `file` under `credentials` in cloud.yaml",
    )


def _named(stem: str, folders: Iterable[Path]) -> list[Path]:
    return [folder / f"{stem}{suffix}" for folder in folders for suffix in _SUFFIXES]


def _secure(path: Path, folders: Iterable[Path]) -> Mapping[str, Any]:
    named = os.environ.get("OS_CLIENT_SECURE_FILE")
    places = [Path(named)] if named else []
    places += _named("secure", [path.parent, *folders])
    return next((_clouds(place) for place in places if place.is_file()), {})


def _read(path: Path) -> Mapping[str, Any]:
    data = read_document(path, version=(1, 1)).data
    return data if isinstance(data, Mapping) else {}


def _clouds(path: Path) -> Mapping[str, Any]:
    clouds = _read(path).get("clouds")
    if not isinstance(clouds, Mapping):
        raise _wrong(path, "it has no `clouds:`", "see the documentation of clouds.yaml")
    return {str(name): entry for name, entry in clouds.items() if isinstance(entry, Mapping)}


def _with_profile(
    path: Path, name: str, entry: Mapping[str, Any], folders: Iterable[Path]
) -> Mapping[str, Any]:
    """Lay a cloud over the profile that it names. Raises InventoryError for one that is unknown."""
    profile = entry.get("profile") or entry.get("cloud")
    if not profile:
        return entry
    places = _named("clouds-public", [path.parent, *folders])
    for place in (place for place in places if place.is_file()):
        public = _read(place).get("public-clouds")
        found = public.get(str(profile)) if isinstance(public, Mapping) else None
        if isinstance(found, Mapping):
            return _merged(_normal(found), entry)
        break  # the first file that there is, as the client has it
    raise _wrong(
        path,
        f"the cloud `{name}` takes values from the profile `{profile}`, which no "
        "clouds-public.yaml has; those that openstacksdk brings, and those of a web address, are "
        "not read here",
        f"write them out under `{name}` (OS_CLOUD={name} openstack configuration show prints "
        "them), or use an openrc",
    )


def _with_region(path: Path, name: str, entry: Mapping[str, Any], asked: str) -> Mapping[str, Any]:
    """Choose the region that is ``asked`` for, else the first. Raises InventoryError."""
    given = entry.get("regions")
    if given is None and entry.get("region_name"):
        given = entry["region_name"]
        given = given if isinstance(given, list) else str(given).split(",")
    known: dict[str, Mapping[str, Any]] = {}
    for one in given if isinstance(given, list) else ():
        own = one.get("values") if isinstance(one, Mapping) else None
        of = one.get("name") if isinstance(one, Mapping) else one
        if not isinstance(of, str | int | float):
            raise _wrong(
                path, f"a region of the cloud `{name}` has no name", "write its name: regions: [R1]"
            )
        known[str(of)] = _normal(own) if isinstance(own, Mapping) else {}
    rest = {key: value for key, value in entry.items() if key != "regions"}
    if not known:
        return rest
    chosen = asked or next(iter(known))
    if chosen not in known:
        raise _wrong(
            path,
            f"the cloud `{name}` has no region `{chosen}`{did_you_mean(chosen, list(known))}",
            "correct `region` in cloud.yaml, or OS_REGION_NAME",
        )
    return _merged(rest, known[chosen]) | {"region_name": chosen}


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(under)
    for key, value in over.items():
        inner = both.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            both[key] = _merged(inner, value)
        else:
            both[key] = value
    return both


def _normal(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return it with ``_`` in each key, where the client takes ``-`` as well. Pure."""
    return {
        str(key).replace("-", "_"): _normal(value) if isinstance(value, Mapping) else value
        for key, value in entry.items()
    }


def _variables(path: Path, name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the scalars of a cloud; one beside ``auth`` comes before the same within it."""
    auth = entry.get("auth")
    _check_options(path, name, entry)
    places: list[Mapping[str, Any]] = [auth] if isinstance(auth, Mapping) else []
    variables: dict[str, str] = {}
    for place in (*places, entry):
        for key, value in place.items():
            text = _text(path, name, key, value)
            if text:
                variables[f"OS_{_FORMER.get(key, key).upper()}"] = text
    return variables


def _check_options(path: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Raise InventoryError for a key under ``auth`` that the type of authentication has not."""
    kind = str(entry.get("auth_type") or "password")
    auth, known = entry.get("auth"), OPTIONS.get(kind)
    for key in auth if isinstance(auth, Mapping) and known is not None else ():
        if key not in (known or ()):
            raise _wrong(
                path,
                f"`auth` of the cloud `{name}` has `{key}`, which the authentication type "
                f"`{kind}` does not have{did_you_mean(key, sorted(known or ()))}",
                "correct it, or write it beside `auth`",
            )


def _text(path: Path, name: str, key: str, value: Any) -> str:  # noqa: ANN401 - of a file
    if key in _LISTS and isinstance(value, list):
        return ",".join(map(str, value))
    if key == "interface" and isinstance(value, list):
        raise _wrong(
            path,
            f"the cloud `{name}` has a list of interfaces, and one is used here",
            "write one: interface: internal",
        )
    if key == "verify" and value is not None and not isinstance(value, bool):
        raise _wrong(
            path,
            f"`verify` of the cloud `{name}` is a text, which the openstack client takes for the "
            "name of a file",
            "write verify: true or verify: false, without quotes",
        )
    if isinstance(value, bool):
        if key in {"username", "password", "token", "passcode"} or key.endswith("_secret"):
            raise _unquoted(path, name, key, "true or false")
        return str(value)
    if isinstance(value, str | int | float):
        return str(value)
    if value is None or isinstance(value, Mapping | list):
        return ""
    raise _unquoted(path, name, key, "a date")


def _unquoted(path: Path, name: str, key: str, what: str) -> InventoryError:
    return _wrong(
        path,
        f"`{key}` of the cloud `{name}` is {what} to a reader of YAML, and no text",
        f"write its value in quotes: {key}: '…'",
    )


def _wrong(path: Path, came_back: str, remedy: str) -> InventoryError:
    return InventoryError(f"reading {path}", came_back=came_back, remedy=remedy)
