"""A plan: what a run will do, step by step, known before anything is done."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from backstay.answers import Seconds, convert
from backstay.jsondata import Json

_RENAMED = {"vouched": "confirmed_fenced", "despite": "skip_gates"}
"""Settings as older versions called them, with what each is called now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a plan.

    ``id`` is unique in the plan; ``action`` names what the runbook does for it. ``target`` is a
    host's name, empty for the cloud as a whole. ``does`` describes it to the operator.
    ``bound`` is after how many seconds it is given up. ``arguments`` are JSON data without secrets.
    """

    id: str
    action: str
    target: str
    does: str
    bound: Seconds
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A runbook bound to hosts. ``cloud`` and ``targets`` are names; ``steps`` is the order.

    ``settings`` are what the operator chose for the whole run: JSON data without secrets.
    ``cloud_file`` is the path of the cloud.yaml that it was made with, empty where that is not
    known: whoever resumes or abandons the run gets it from there.
    """

    runbook: str
    cloud: str
    targets: tuple[str, ...]
    steps: tuple[Step, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    cloud_file: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for two steps with one id: results are stored by id."""
        names = [step.id for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError(f"two steps have one id: {names}")

    @property
    def bound(self) -> float:
        """Return after how many seconds the last step would be given up at the latest."""
        return sum(step.bound for step in self.steps)

    def of_file(self, path: Path) -> "Plan":
        """Return the plan with the cloud.yaml that it was made with."""
        return replace(self, cloud_file=str(path.absolute()))

    def document(self) -> dict[str, Any]:
        """Return the plan as JSON data; ``from_document`` reads it."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Json) -> "Plan":
        """Return the plan that ``document`` gave, of an older version too. Raises BadAnswer."""
        settings = document.get("settings") if isinstance(document, Mapping) else None
        if isinstance(settings, Mapping):
            current = {_RENAMED.get(key, key): value for key, value in settings.items()}
            document = {**document, "settings": current}
        return convert(cls, document)
