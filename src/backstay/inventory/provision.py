"""How hosts are built by the site's own configuration management: ``provision:`` in cloud.yaml."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from backstay.inventory.backup import HostPath
from backstay.inventory.fields import Duration, Part
from backstay.inventory.secret import BesideFile


def _variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"`{name}` cannot be the name of an environment variable")
    return name


def _tag(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_:.-]+", name):
        raise ValueError(f"`{name}` is not a tag")
    return name


Environment = Mapping[Annotated[str, AfterValidator(_variable)], str]
Tag = Annotated[str, AfterValidator(_tag)]


class Puppet(Part):
    """``puppet apply`` on the host. The files come to it with the backup: see ``backup.paths``.

    ``skip`` are kinds of resources (each has a tag of its type's name) that a restored database
    has already: ``keystone_user``, ``keystone_endpoint``. ``options`` are further ones of
    puppet-apply(8).
    """

    manifest: HostPath
    modulepath: tuple[HostPath, ...] = ()
    hiera: HostPath | None = None
    environment: Environment = {}
    skip: tuple[Tag, ...] = ()
    options: tuple[str, ...] = ()


class Ansible(Part):
    """``ansible-playbook`` on this machine. ``limit`` is the host's name if left out."""

    playbook: BesideFile
    inventory: BesideFile | None = None
    limit: str | None = None
    extra: Mapping[str, str] = {}
    environment: Environment = {}
    skip: tuple[Tag, ...] = ()


class Command(Part):
    """Any command, on the ``host`` or ``here``; ``good`` are its exit statuses of success."""

    argv: tuple[str, ...] = Field(min_length=1)
    on: Literal["host", "here"] = "host"
    environment: Environment = {}
    good: tuple[int, ...] = (0,)


class ProvisionMethod(Part):
    """Exactly one of the three, and for how long it may take."""

    puppet: Puppet | None = None
    ansible: Ansible | None = None
    command: Command | None = None
    bound: Duration = 1800.0

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(one is not None for one in (self.puppet, self.ansible, self.command)) != 1:
            raise ValueError("expected exactly one of `puppet`, `ansible` and `command`")
        return self

    @property
    def given(self) -> Puppet | Ansible | Command:
        """Return the one that is given."""
        found = self.puppet or self.ansible or self.command
        assert found is not None  # noqa: S101 - validated
        return found


def on_the_host(means: ProvisionMethod) -> list[PurePosixPath]:
    """Return the files that must be on the host before it can be built."""
    given = means.puppet
    if given is None:
        return []
    return [PurePosixPath(path) for path in (given.manifest, given.hiera) if path]
