"""Volumes and attachments as cinder's records have them."""

from collections.abc import Mapping
from dataclasses import dataclass

from backstay.answers import Line

VOLUMES = "cinder volumes"
ATTACHMENTS = "cinder attachments"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeStatus:
    """A volume's status as the API has it."""

    status: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeAnswer:
    """The answer of ``/volumes/ID``."""

    volume: VolumeStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume as cinder's records have it.

    ``stored`` is the identity that its data are called by, ``backend`` the section of cinder.conf.
    """

    id: str
    name: str
    status: str
    stored: str
    backend: str
    age: float

    @property
    def subject(self) -> str:
        """Return what it is called in a mismatch."""
        return f"volume {self.name} {self.id}".replace("  ", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """An attachment of a volume to an instance, as cinder's records have it."""

    id: str
    volume: str
    instance: str


def read_volume(row: Mapping[str, str]) -> Volume:
    """Return the volume of a row of VOLUMES. Pure."""
    return Volume(
        id=row["id"],
        name=row["name"],
        status=row["status"],
        stored=row["stored"],
        backend=row["host"].partition("@")[2].partition("#")[0],
        age=float(row["age"]),
    )
