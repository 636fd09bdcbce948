"""Where the OpenStack credentials of an account come from."""

from typing import Self

from pydantic import model_validator

from backstay.inventory.fields import Part
from backstay.inventory.secret import BesideFile


class Credentials(Part):
    """Where the OpenStack credentials come from: exactly one of the three.

    ``openrc`` is a file for a POSIX shell, ``clouds`` a name in clouds.yaml (``file`` says in
    which, else the standard places are searched), ``environment`` the ``OS_*`` variables.
    """

    openrc: BesideFile | None = None
    clouds: str | None = None
    file: BesideFile | None = None
    environment: bool = False

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum((self.openrc is not None, self.clouds is not None, self.environment)) != 1:
            raise ValueError("expected exactly one of `openrc`, `clouds` and `environment: true`")
        if self.file is not None and self.clouds is None:
            raise ValueError("`file` goes with `clouds`: the name of the cloud in that file")
        return self
