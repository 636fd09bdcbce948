"""A host's BMC in cloud.yaml, and the fenced hosts, which theirs keep off."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from backstay.inventory.fields import Part
from backstay.inventory.secret import BesideFile, Secret
from backstay.transports.targets import BmcTarget


class Bmc(Part):
    """A host's baseboard management controller.

    ``url`` is where its Redfish service begins, or ``ipmi://ADDRESS``; ``protocol`` goes with it
    and need not be said. ``ca`` is the certificate file that its own is checked against; None means
    the system's.
    """

    protocol: Literal["redfish", "ipmi"] | None = None
    url: str = Field(pattern=r"^(https?|ipmi)://[^/]+")
    username: str
    password: Secret
    ca: BesideFile | None = None

    @model_validator(mode="after")
    def _protocol_is_the_url_s(self) -> Self:
        spoken = "ipmi" if urlsplit(self.url).scheme == "ipmi" else "redfish"
        if self.protocol not in {None, spoken}:
            raise ValueError(f"`url` is one of {spoken}, `protocol` says {self.protocol}")
        return self

    def target(self, host: str) -> BmcTarget:
        """Return where and how the BMC of ``host`` is reached.

        Raises InventoryError where its password cannot be read.
        """
        return BmcTarget(
            name=host,
            url=self.url,
            username=self.username,
            password=self.password.reveal(),
            ca=self.ca,
        )


def _aware(given: datetime) -> datetime:
    """Take a time without a zone as UTC: YAML gives it so where it is written without quotes."""
    return given if given.tzinfo else given.replace(tzinfo=UTC)


class Fenced(Part):
    """A host that was replaced and is only switched off, under ``fenced:`` in cloud.yaml.

    ``was`` is the name of the host whose place another has now. As long as it stands here
    ``backstay check`` reads its power. ``uuid`` is that of the machine, as its BMC gave it when it
    was fenced: its power is cut only while that one is behind the BMC.
    """

    was: str
    since: Annotated[datetime, AfterValidator(_aware)]
    bmc: Bmc | None = None
    uuid: str = ""
