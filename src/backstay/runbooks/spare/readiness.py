"""For what a spare is prepared, and whether that is still what its host has."""

import json
from collections.abc import Mapping
from typing import Any

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.errors import BackstayError
from backstay.provision.packages import wanted
from backstay.runbooks.replace import onhost_spare
from backstay.runbooks.replace.spare import manifest_of


async def readiness(site: CloudSession, name: str) -> dict[str, Any]:
    """Return ``state`` (bare, prepared, behind, unknown), and what the spare's note says.

    ``behind`` are the packages that are not as in the newest backup of the host.
    """
    try:
        told = await site.ask(name, onhost_spare.look, [], [])
        note: Mapping[str, Any] = json.loads(told["prepared"] or "{}")
        if not note:
            return {"spare": name, "state": "bare"}
        place = Place(site.cloud)
        manifest = await manifest_of(place, place.catalogue.named(note["for"]))
    except BackstayError as error:
        return {"spare": name, "state": "unknown", "error": f"{error}; {error.remedy}"}
    return state_of(name, note, told["packages"], manifest)


def state_of(
    name: str, note: Mapping[str, Any], packages: list[str], manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """Judge it. Pure. What could not be had when it was prepared does not count."""
    have = dict(line.split(" ", 1) for line in packages if " " in line)
    known = {*note["packages"]["missing"], *(row[0] for row in note["packages"]["differ"])}
    pairs = wanted(manifest).wanted
    behind = sum(have.get(one) != version for one, version in pairs if one not in known)
    return {
        "spare": name,
        "state": "behind" if behind else "prepared",
        "for": note["for"],
        "backup": note["backup"],
        "at": note["at"],
        "behind": behind,
        "files": note["files"],
    }
