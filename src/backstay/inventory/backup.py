"""Where backups are kept, and for how long."""

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field

from backstay.inventory.fields import Duration, Part
from backstay.inventory.secret import BesideFile


class Engine(StrEnum):
    """How databases are taken: as a hot copy of the server's files, or as a dump in SQL."""

    PHYSICAL = "physical"
    DUMP = "dump"


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{path!r} is not the absolute path of a file or folder on the hosts")
    return str(PurePosixPath(path))


HostPath = Annotated[str, AfterValidator(_absolute)]


class Keep(Part):
    """How many backups of a host are kept: the last ones, and one of each day, week and month."""

    last: int = Field(default=3, ge=1, le=10_000)
    daily: int = Field(default=7, ge=0, le=10_000)
    weekly: int = Field(default=4, ge=0, le=10_000)
    monthly: int = Field(default=6, ge=0, le=10_000)


class Backups(Part):
    """Under ``backup:`` in cloud.yaml.

    ``folder`` is a folder of this machine, ``backups/CLOUD`` in Backstay's own if None: it holds
    the catalogue, a mirror of the hosts' files, and the restic repository where ``repository``
    (any of restic's locations) names no other. ``password_file`` holds the repository's password;
    left out, one is made in the folder. ``engine`` is how databases are taken. ``paths`` are files
    and folders of the site's own that go into every host's backup where they exist. ``max_age`` is
    how old a host's newest verified backup may be when it is rebooted. ``stream_lag`` is for how
    long what a stream has received may be behind its server before that is a warning.
    """

    folder: BesideFile | None = None
    repository: str | None = None
    password_file: BesideFile | None = None
    engine: Engine = Engine.PHYSICAL
    paths: tuple[HostPath, ...] = ()
    keep: Keep = Keep()
    max_age: Duration | None = None
    stream_lag: Duration = 60.0
