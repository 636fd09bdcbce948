"""Which faults a lab has: written down before each is made, so that it can be undone after a crash.

``faults.json`` in the lab's folder, oldest first.
"""

import datetime
import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from backstay_lab.errors import LabError
from backstay_lab.files import write_json
from backstay_lab.layout import Lab


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One fault of one host.

    ``unit`` is the systemd unit that is broken, empty where the whole host is; ``options`` are
    the operator's choices; ``noted`` is what was read before the fault was made and is needed to
    undo it; ``at`` is the time in UTC, ISO 8601.
    """

    fault: str
    host: str
    unit: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    noted: Mapping[str, str] = field(default_factory=dict)
    at: str = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )

    @property
    def target(self) -> str:
        """What is broken, as it is typed: ``HOST`` or ``HOST/UNIT``."""
        return f"{self.host}/{self.unit.removesuffix('.service')}" if self.unit else self.host

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two records the same fault."""
        return (self.fault, self.host, self.unit)


def read(lab: Lab) -> list[Record]:
    """Return the lab's recorded faults, oldest first. Raises LabError where they are unreadable."""
    file = _file(lab)
    try:
        return [Record(**entry) for entry in json.loads(file.read_text())]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise LabError(
            f"reading the faults of lab {lab.name}",
            came_back=f"{file} does not hold them ({error})",
            remedy="backstay lab down, then lab up",
        ) from error


def add(lab: Lab, record: Record) -> None:
    """Write down a fault, on disk before this returns; a record of the same fault is replaced."""

    def change(records: list[Record]) -> list[Record]:
        return [other for other in records if other.key != record.key] + [record]

    _change(lab, change)


def remove(lab: Lab, record: Record) -> None:
    """Strike a fault out; nothing where it is not recorded."""
    _change(lab, lambda records: [other for other in records if other.key != record.key])


def forget(lab: Lab) -> None:
    """Strike out everything."""
    _file(lab).unlink(missing_ok=True)


def _file(lab: Lab) -> Path:
    return lab.folder / "faults.json"


def _change(lab: Lab, change: Callable[[list[Record]], list[Record]]) -> None:
    with _locked(lab):
        write_json(_file(lab), [asdict(record) for record in change(read(lab))])


@contextmanager
def _locked(lab: Lab) -> Iterator[None]:
    """One change at a time, also between processes."""
    if not lab.folder.is_dir():
        raise LabError(
            f"opening lab {lab.name}", came_back="there is no such lab", remedy="backstay lab up"
        )
    with (lab.folder / "faults.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
