"""A host's BMC in cloud.yaml, and the fenced hosts, which theirs keep off."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from backstay.inventory.fields import Part
from backstay.inventory.secret import BesideFile, Secret
from backstay.transports.fingerprint import fingerprint_digits
from backstay.transports.targets import BmcTarget
from backstay.transports.urls import is_this_machine, one_spelling

_SYSTEM = re.compile(r"/redfish/v1/Systems/([^/]+)/?")
_USUAL_PORTS = {None, 80, 443, 623}


@dataclass(frozen=True, slots=True)
class BmcPlace:
    """Where a BMC is, however its URL is written; ``port`` is None for each standard one.

    Redfish begins at the same path of every server: of a URL's path only a ``system`` counts, by
    which one BMC's several machines are distinguished; empty where none is named.
    """

    host: str
    port: int | None
    ipmi: bool
    system: str = ""

    def is_same(self, other: "BmcPlace") -> bool:
        """Return whether it is one BMC. On any ports, where one is of IPMI and one of Redfish."""
        if self.host != other.host or (self.port != other.port and self.ipmi == other.ipmi):
            return False
        return not (self.system and other.system and self.system != other.system)


def place_of(url: str) -> BmcPlace | None:
    """Return where the BMC with a URL is, None where that is no URL. Pure."""
    try:
        parts = urlsplit(url)
        port = None if parts.port in _USUAL_PORTS else parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    ipmi = parts.scheme == "ipmi"
    return BmcPlace(one_spelling(parts.hostname), port, ipmi, "" if ipmi else system_in(parts.path))


def system_in(path: str) -> str:
    """Return the system that a URL's path names (``/redfish/v1/Systems/NAME``), or empty. Pure."""
    found = _SYSTEM.fullmatch(path)
    return unquote(found[1]) if found else ""


class Bmc(Part):
    """A host's baseboard management controller.

    ``url`` is where its Redfish service begins, or ``ipmi://ADDRESS``; ``protocol`` goes with it
    and need not be said. With several systems behind it ``url`` goes on to the host's:
    ``https://ADDRESS/redfish/v1/Systems/NAME``. ``ca`` is the certificate file that its own is
    checked against; None means the system's. ``fingerprint`` (``SHA256:…``) is that of the one
    certificate that is trusted, whoever signed it and for whatever name: a factory's. By ``http``
    the password goes in the clear: where a network of its own makes that harmless, ``clear`` says
    so, and there is no warning.
    """

    protocol: Literal["redfish", "ipmi"] | None = None
    url: str = Field(pattern=r"^(https?|ipmi)://[^/]+")
    username: str
    password: Secret
    ca: BesideFile | None = None
    fingerprint: Annotated[str, AfterValidator(fingerprint_digits)] = ""
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
        printable = given.isascii() and given.isprintable() and " " not in given
        if not found or not printable:
            raise ValueError("this is no address, or its port does not exist")
        return given

    @property
    def sends_in_the_clear(self) -> bool:
        """Return whether its password goes over a network in the clear without a word in the file.

        What goes to this machine itself goes over none.
        """
        parts = urlsplit(self.url)
        return (
            parts.scheme == "http" and not self.clear and not is_this_machine(parts.hostname or "")
        )

    @model_validator(mode="after")
    def _protocol_is_the_url_s(self) -> Self:
        spoken = "ipmi" if urlsplit(self.url).scheme == "ipmi" else "redfish"
        if self.protocol not in {None, spoken}:
            raise ValueError(f"`url` is one of {spoken}, `protocol` says {self.protocol}")
        if self.fingerprint and urlsplit(self.url).scheme != "https":
            raise ValueError("`fingerprint` is that of a certificate: it goes with an https `url`")
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
            fingerprint=self.fingerprint,
            system="" if self.url.startswith("ipmi:") else system_in(urlsplit(self.url).path),
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
