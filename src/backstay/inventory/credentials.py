"""The OpenStack credentials of a cloud as ``OS_*`` variables, wherever they come from."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from backstay.errors import InventoryError
from backstay.inventory.account import Credentials
from backstay.inventory.document import read_document
from backstay.inventory.mistakes import did_you_mean
from backstay.ownership import NotTrusted, open_own


def variables(credentials: Credentials) -> dict[str, str]:
    """Return the variables, with values that are secret. Raises InventoryError."""
    if credentials.openrc is not None:
        return read_openrc(credentials.openrc)
    if credentials.clouds is not None:
        return read_clouds_yaml(credentials.clouds, credentials.file)
    return _from_environment()


def _from_environment() -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if name.startswith("OS_")}
    if found.get("OS_CLOUD") and "OS_AUTH_URL" not in found:
        return read_clouds_yaml(found["OS_CLOUD"], None)
    if "OS_AUTH_URL" not in found:
        raise InventoryError(
            "reading the OpenStack credentials from the environment",
            came_back="OS_AUTH_URL is not set",
            remedy="source the openrc first: . ./openrc (or name it under `credentials` in "
            "cloud.yaml)",
        )
    return found


BOUND = 10.0
_LONGEST_OUTPUT = 1_000_000

# `.` with a path that has a slash does not search PATH. What the script prints goes to stderr, so
# that only the variables are on stdout; NUL between them, as values may hold newlines.
_SOURCE = '. "$0" >&2 && exec env -0'


def read_openrc(path: Path, *, bound: float = BOUND) -> dict[str, str]:
    """Return the ``OS_*`` variables that ``path`` exports, run by a POSIX ``sh`` with ``.``.

    The environment is clean (PATH and HOME only), standard input is empty, and after ``bound``
    seconds the shell and all that it started are killed. The password may come from the
    operator's own ``OS_PASSWORD`` where the script asks for it. Raises InventoryError.
    """
    try:
        opened = open_own(path)
    except NotTrusted as error:
        raise _openrc_wrong(path, str(error), error.remedy) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        why = "there is no such file" if isinstance(error, FileNotFoundError) else why
        raise _openrc_wrong(path, why, "correct `openrc` in cloud.yaml") from error
    with opened.file as file:
        status, output, complaints = _run(path.absolute(), file.fileno(), bound)
    if status != 0:
        message = _complaint(complaints, path)
        raise _openrc_wrong(
            path,
            f"sh ended with status {status}" + (f": {message}" if message else ""),
            f"try by hand: sh -c '. {path}' (a POSIX sh, not bash; `source` and [[ ]] are bash's)",
        )
    pairs = (item.partition("=") for item in output.split("\0"))
    found = {name: value for name, _, value in pairs if name.startswith("OS_")}
    return _with_password(path, found)


def _complaint(complaints: str, path: Path) -> str:
    """Return the last line that a failed script has left, without any of the script's own words.

    What a shell cannot carry out is often a password that stands there without quotes: of its
    complaints only the number of the line and the kind are shown, of what it traces nothing.
    """
    lines = [line.strip() for line in complaints.splitlines()]
    last = next((line for line in reversed(lines) if line and not line.startswith("+")), "")
    if not last.startswith((f"{path}:", "sh:")):
        return last  # of the script's author, who has it printed
    number = re.search(r": (?:line )?(\d+):", last)
    kind = next((known for known in _COMPLAINTS if known.lower() in last.lower()), "an error")
    return f"line {number[1]}: {kind}" if number else kind


_COMPLAINTS = (
    "Syntax error",
    "unexpected EOF",
    "bad variable name",
    "not a valid identifier",
    "parameter not set",
    "unbound variable",
    "bad substitution",
    "not found",
    "No such file or directory",
    "Permission denied",
)


def _with_password(path: Path, found: dict[str, str]) -> dict[str, str]:
    if not found:
        raise _openrc_wrong(path, "it exports no OS_ variable", "export them: export OS_AUTH_URL=…")
    others = ("OS_TOKEN", "OS_APPLICATION_CREDENTIAL_SECRET")
    if found.get("OS_PASSWORD") or any(found.get(name) for name in others):
        return found
    if os.environ.get("OS_PASSWORD"):
        return found | {"OS_PASSWORD": os.environ["OS_PASSWORD"]}
    raise _openrc_wrong(
        path,
        "it sets no OS_PASSWORD: it probably asks for the password, and there is no terminal",
        "set OS_PASSWORD in the environment, or use clouds.yaml",
    )


def _run(path: Path, file: int, bound: float) -> tuple[int, str, str]:
    """Run the script that is open as ``file``: what was checked, whatever its name leads to now."""
    script = f"/dev/fd/{file}"
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
    }
    # Files, not pipes: what the script leaves behind in the background may hold a pipe open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints:
        shell = subprocess.Popen(
            ["sh", "-c", _SOURCE, script],
            pass_fds=[file],
            env=environment,
            cwd=path.parent,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=complaints,
            start_new_session=True,
        )
        try:
            status = shell.wait(bound)
        except subprocess.TimeoutExpired:
            raise _openrc_wrong(
                path,
                f"it did not end within {bound:g} s",
                "see what it waits for: sh -x " + str(path),
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        return status, _text(out), _text(complaints).replace(script, str(path))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_LONGEST_OUTPUT).decode("utf-8", "replace")


def _openrc_wrong(path: Path, came_back: str, remedy: str) -> InventoryError:
    return InventoryError(f"reading {path}", came_back=came_back, remedy=remedy)


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
        raise _clouds_yaml_wrong(
            path,
            f"there is no cloud `{name}`{did_you_mean(name, known)}",
            "correct `clouds` in cloud.yaml",
        )
    entry = _merged(clouds[name], _secure(path).get(name, {}))
    if entry.get("profile") or entry.get("cloud"):
        raise _clouds_yaml_wrong(
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
        raise _clouds_yaml_wrong(
            path, "it has no `clouds:`", "see the documentation of clouds.yaml"
        )
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
            # Path.expanduser raises RuntimeError where there is no such user.
            variables[variable] = os.path.expanduser(variables[variable])  # noqa: PTH111
    regions = entry.get("regions")
    if "OS_REGION_NAME" not in variables and isinstance(regions, list) and len(regions) == 1:
        only = regions[0]
        variables["OS_REGION_NAME"] = str(only.get("name") if isinstance(only, Mapping) else only)
    return variables


def _clouds_yaml_wrong(path: Path, came_back: str, remedy: str) -> InventoryError:
    return InventoryError(f"reading {path}", came_back=came_back, remedy=remedy)
