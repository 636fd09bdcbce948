"""Mutated answers about agents: unknown where they cannot be read, and nothing is raised."""

import asyncio
from typing import Any

import pytest

from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature
from backstay.health.rpc.observe import observe_agents
from backstay.health.rpc.signatures import judge_all
from tests.fuzz.mutate import Mutator
from tests.health.rpc.recorded import Recording

TIMES = 40


def diagnosed(recording: Recording) -> list[AgentDiagnosis]:
    observed = asyncio.run(observe_agents(recording))  # type: ignore[arg-type]
    return judge_all(observed, reconnect=90.0)


@pytest.mark.parametrize("host", ["compute1", "compute2"])
def test_what_one_compute_host_answers_changes_no_other_hosts_agents(host: str) -> None:
    well = {one.name: one.evidence for one in diagnosed(Recording("all-well"))}
    mutator = Mutator(6)
    for _ in range(TIMES):
        recording = Recording("all-well")
        key = f"{host} read_agents"
        recording.answers[key] = mutator.answer(recording.answers[key])
        found: dict[str, Any] = {one.name: one for one in diagnosed(recording)}
        others = {name: one.evidence for name, one in found.items() if not name.endswith(host)}
        assert others == {name: text for name, text in well.items() if not name.endswith(host)}
        assert all(
            one.signature in {Signature.ATTACHED, Signature.UNKNOWN, Signature.SETTLING}
            or one.seen.unit is not None
            for one in found.values()
        )
