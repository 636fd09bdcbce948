"""Which machine is it? The ids that a machine's firmware gives, and how two readings compare. Pure.

The same UUID is spelled in several byte orders: SMBIOS stores its first three parts with the least
significant byte first, some BMCs give these bytes as they are, and IPMI's GUID is the whole UUID
from its end. https://www.dmtf.org/standards/smbios (7.2.1), IPMI 2.0 chapter 20.8.
"""

import re
import uuid
from dataclasses import dataclass

_MADE_UP = {
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
}
"""UUIDs that boards have to which their maker gave none."""
_NO_SERIAL = re.compile(
    r"|none|n/?a|unknown|default string|not (specified|available|applicable)|empty"
    r"|to be filled by o\.?e\.?m\.?|system serial number|chassis serial number|0*|1*|x*"
    r"|0?123456789.*|0x0*|\.*",
    re.IGNORECASE,
)
_SAME_BYTES = 2
_SHORTEST_SERIAL = 4
_LONGEST = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The UUID and the serial number of a machine; empty where it gives none that is its own."""

    uuid: str = ""
    serial: str = ""

    @property
    def known(self) -> bool:
        """Return whether anything is known that tells it from others."""
        return bool(self.uuid or self.serial)

    def __str__(self) -> str:
        """Return it in words."""
        words = [f"UUID {self.uuid}"] if self.uuid else []
        words += [f"serial number {self.serial}"] if self.serial else []
        return ", ".join(words) or "no UUID"


def hardware_of(given_uuid: str | None, serial: str | None = "") -> Hardware:
    """Return what was read, without what is no machine's own."""
    return Hardware(uuid=_real_uuid(given_uuid or ""), serial=_real_serial(serial or ""))


def same_machine(noted: Hardware, found: Hardware) -> bool | None:
    """Return whether two readings are of one machine, None where that is unknown.

    Serial numbers that differ tell nothing: one may be the chassis's.
    """
    if noted.serial and noted.serial.casefold() == found.serial.casefold():
        return True
    if not noted.uuid or not found.uuid:
        return None
    return found.uuid in _spellings(noted.uuid)


def _spellings(text: str) -> set[str]:
    """Return a UUID in each byte order that is in use."""
    plain = uuid.UUID(text)
    found = {plain, uuid.UUID(bytes=plain.bytes_le)}
    found |= {uuid.UUID(bytes=one.bytes[::-1]) for one in found}
    found |= {uuid.UUID(bytes=one.bytes_le) for one in found}
    return {str(one) for one in found}


def _real_uuid(given: str) -> str:
    try:
        found = uuid.UUID(given.strip())
    except (ValueError, AttributeError):
        return ""
    made_up = str(found) in _MADE_UP or len(set(found.bytes)) < _SAME_BYTES
    return "" if made_up else str(found)


def _real_serial(given: str) -> str:
    serial = " ".join(given.split())[:_LONGEST]
    letters = [one for one in serial.casefold() if one.isalnum()]
    # What boards have to which their maker gave none ("INVALID", "S/N", "-") has no digit. Two such
    # machines would be taken for one: a serial number that is the same proves it.
    has_one = len(set(letters)) >= _SAME_BYTES and any(one.isdigit() for one in letters)
    made_up = _NO_SERIAL.fullmatch(serial) or not has_one or len(letters) < _SHORTEST_SERIAL
    return "" if made_up else serial
