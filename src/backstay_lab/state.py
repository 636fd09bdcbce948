"""What ``lab up`` has claimed and how far it came, in ``state.json``: written before each change.

``lab down`` does not depend on it: it finds what is ours by name. The state records which names
are ours to remove, and whether a second ``lab up`` may continue or has to start over.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from backstay_lab.errors import LabError
from backstay_lab.files import write_json
from backstay_lab.layout import MAX_COMPUTES, SLOTS, Lab, Login, home, is_name


class Phase(StrEnum):
    """How far a lab came."""

    DOWN = "down"
    BUILDING = "building"  # hosts are being made from nothing: not usable after an interruption
    STARTING = "starting"  # hosts start from finished disks: may go on after an interruption
    UP = "up"


@dataclass(frozen=True, slots=True)
class State:
    """A lab's recorded state. ``claims`` are names of bridges and nft tables that are ours."""

    name: str
    slot: int
    computes: int
    phase: Phase = Phase.DOWN
    hosts: tuple[str, ...] = ()
    claims: tuple[str, ...] = field(default=())
    built_key: str = ""
    login: Login = Login.ROOT

    @property
    def lab(self) -> Lab:
        """The lab as a place."""
        return Lab(self.name, self.slot, self.computes, self.login)

    def at(self, phase: Phase) -> "State":
        """Return the same state at another phase."""
        return replace(self, phase=phase)


def _file(name: str) -> Path:
    return home() / "labs" / name / "state.json"


def load(name: str) -> State | None:
    """Read a lab's state; None where there is no such lab.

    Raises LabError where the file cannot be understood.
    """
    file = _file(name)
    try:
        raw = json.loads(file.read_text())
        return State(
            name=name,
            slot=int(raw["slot"]),
            computes=int(raw["computes"]),
            phase=Phase(raw["phase"]),
            hosts=tuple(raw["hosts"]),
            claims=tuple(raw["claims"]),
            built_key=str(raw["built_key"]),
            login=Login(raw.get("login", Login.ROOT)),  # older ones have none
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"reading the state of lab {name}",
            came_back=f"{file} does not hold a lab's state ({error})",
            remedy=f"backstay lab down --purge --name {name}",
        ) from error


def save(state: State) -> None:
    """Write a lab's state, atomically and on disk before this returns."""
    file = _file(state.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.parent.chmod(0o700)
    write_json(file, asdict(state))


def all_labs() -> list[State]:
    """Return the states of all labs of this machine that can be read."""
    found = []
    for file in sorted((home() / "labs").glob("*/state.json")):
        try:
            state = load(file.parent.name)
        except LabError:
            continue
        if state:
            found.append(state)
    return found


def load_or_guess(name: str) -> State | None:
    """Read a lab's state; where it cannot be understood, one that names all that may be ours."""
    try:
        return load(name)
    except LabError:
        return State(name=name, slot=0, computes=MAX_COMPUTES, login=Login.OPERATOR)


def opened(name: str) -> State:
    """Return the state of a lab that must be there. Raises LabError where it is not."""
    state = load(name)
    if state is None:
        raise LabError(
            f"opening lab {name}", came_back="there is no such lab", remedy="backstay lab up"
        )
    return state


def new(name: str, computes: int, taken: set[int]) -> State:
    """Return the state of a new lab in the first slot that no other lab has."""
    if not is_name(name):
        raise LabError(
            f"naming a lab {name!r}",
            came_back="a lab's name is a small letter, then up to 19 small letters, digits or '-'",
            remedy="choose another --name",
        )
    free = [slot for slot in SLOTS if slot not in taken]
    if not free:
        raise LabError(
            f"finding addresses for lab {name}",
            came_back=f"all {len(SLOTS)} slots belong to other labs",
            remedy="backstay lab down --purge --name OTHER",
        )
    return State(name=name, slot=free[0], computes=computes)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lab's lock: one ``up`` or ``down`` at a time. Raises LabError where it is held."""
    folder = home() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise LabError(
                f"taking the lock of lab {name}",
                came_back=f"another process of the lab holds it: {file.read().strip()}",
                remedy="wait for it to end, or end it",
            ) from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
