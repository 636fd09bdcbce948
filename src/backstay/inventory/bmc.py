"""A host's BMC in cloud.yaml, and the fenced hosts, which theirs keep off."""

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from backstay.inventory.fields import Part
from backstay.inventory.secret import BesideFile, Secret
from backstay.transports.targets import BmcTarget


class Bmc(Part):
    """A host's baseboard management controller.

    ``url`` is where its Redfish service begins, or ``ipmi://ADDRESS``; ``protocol`` goes with it
    and need not be said. ``ca`` is the certificate file that its own is checked against; None means
    the system's. By ``http`` the password goes in the clear: where a network of its own makes that
    harmless, ``clear`` says so, and there is no warning.
    """

    protocol: Literal["redfish", "ipmi"] | None = None
    url: str = Field(pattern=r"^(https?|ipmi)://[^/]+")
    username: str
    password: Secret
    ca: BesideFile | None = None
    clear: bool = False

    @field_validator("url")
    @classmethod
    def _is_an_address_alone(cls, given: str) -> str:
        if "@" in given or "?" in given or "#" in given:
            # Not repeated here: this text is shown.
            raise ValueError("expected an address alone: `username` and `password` are fields")
        try:
            parts = urlsplit(given)
            found = bool(parts.hostname) and parts.port != 0
        except ValueError:
            found = False
        if not found or not given.isascii():
            raise ValueError("this is no address, or its port does not exist")
        return given

    @property
    def sends_in_the_clear(self) -> bool:
        """Return whether its password goes over a network in the clear without a word in the file.

        What goes to this machine itself goes over none.
        """
        parts = urlsplit(self.url)
        return parts.scheme == "http" and not self.clear and not _is_loopback(parts.hostname or "")

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


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
