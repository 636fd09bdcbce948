"""Instances as nova's records have them."""

from dataclasses import dataclass

from backstay.services.reconciliation import Evidence

INSTANCES = "nova instances"
_MOVING = ("migrating", "resize", "rebuild", "shelving", "unshelving", "spawning", "deleting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance as nova's records have it. ``age`` is how long its record is unchanged."""

    id: str
    name: str
    host: str
    node: str
    state: str
    task: str
    age: float

    @property
    def subject(self) -> str:
        """Return what it is called in a mismatch."""
        return f"instance {self.name} {self.id}"

    @property
    def moves(self) -> bool:
        """Whether it is on its way between two states or hosts: two guests or none are no fault."""
        return self.task.startswith(_MOVING) or self.state in {"building", "resized"}


def instances(seen: Evidence) -> dict[str, Instance]:
    """Return the instances by their identity; ask ``seen.has(INSTANCES)`` first. Pure."""
    return {
        row["uuid"]: Instance(
            id=row["uuid"],
            name=row["name"],
            host=row["host"],
            node=row["node"],
            state=row["vm_state"],
            task=row["task_state"],
            age=float(row["age"]),
        )
        for row in seen.rows[INSTANCES]
    }
