"""The kinds of step of a reattachment: which agents each is about, what it results in. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.health.rpc.diagnosis import AgentDiagnosis
from backstay.journal.action import Running, StepKind
from backstay.journal.plan import Step
from backstay.journal.result import StepResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An agent as the journal names it.

    Attributes:
        binary: such as ``nova-compute``.
        host: the name of its host in cloud.yaml.
        server: the name under which it receives RPC messages.
        unit: its unit, as systemd calls it.
        signature: its signature when the plan was made.
        evidence: what that was based on.

    """

    binary: str
    host: str
    server: str
    unit: str
    signature: str
    evidence: str

    @property
    def name(self) -> str:
        """Return the agent's name, such as ``nova-compute on compute1``."""
        return f"{self.binary} on {self.host}"


def target_of(diagnosis: AgentDiagnosis) -> Target:
    """Return an agent as the journal names it."""
    seen = diagnosis.seen
    return Target(
        binary=seen.agent.binary,
        host=seen.host or "",
        server=seen.agent.rpc_target,
        unit=seen.rpc_endpoint.unit,
        signature=diagnosis.signature.value,
        evidence=diagnosis.evidence,
    )


def targets_of(step: Step) -> list[Target]:
    """Return the agents that a step is about."""
    given: Sequence[Mapping[str, Any]] = step.arguments["agents"]
    return [Target(**agent) for agent in given]


def among(targets: Iterable[Target]) -> Callable[[AgentDiagnosis], bool]:
    """Return a function that returns whether an agent is one of ``targets``."""
    wanted = {(target.binary, target.server) for target in targets}

    def chosen(diagnosis: AgentDiagnosis) -> bool:
        agent = diagnosis.seen.agent
        return (agent.binary, agent.rpc_target) in wanted

    return chosen


@dataclass(frozen=True, kw_only=True)
class Settled(StepResult):
    """The names of the agents that are not attached although none is settling any more."""

    left: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FailedRestart:
    """An agent that is not attached after its restart, and what to do about it."""

    name: str
    evidence: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class AgentsRestarted(StepResult):
    """A batch of restarts.

    Attributes:
        restarted: names of the agents that were restarted.
        outcomes: each faulty agent of the batch, and whether it is attached now.
        failed: the agents of the batch that are not attached.

    """

    restarted: tuple[str, ...] = ()
    outcomes: tuple[tuple[str, bool], ...] = ()
    failed: tuple[FailedRestart, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AgentsProved(StepResult):
    """All agents of the plan are attached.

    Attributes:
        proved: how many they are.
        restarted: names of those that were restarted in this run.
        broker_up: the broker's uptime in seconds, None unknown.

    """

    proved: int
    restarted: tuple[str, ...]
    broker_up: float | None


SETTLE = StepKind("settle", Settled)
RESTART = StepKind("restart", AgentsRestarted)
PROVE = StepKind("prove", AgentsProved)
KINDS = (SETTLE, RESTART, PROVE)
"""All kinds, in the order of a plan; there is one step ``restart-N`` for each batch."""


def batches_done(running: Running) -> list[AgentsRestarted]:
    """Return the results of all batches that are done, in order. Raises JournalError."""
    return [
        AgentsRestarted.from_json(running.results[step.id])
        for step in running.plan.steps
        if step.action == RESTART.name and step.id in running.results
    ]
