"""What `check --deep` says of agents that were called."""

from dataclasses import replace

from backstay.errors import ApiUnreachable
from backstay.finding import Severity
from backstay.health.rpc.agents import findings, not_called
from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature
from tests.health.rpc.test_signatures import seen


def test_each_signature_has_its_severity_and_what_to_do() -> None:
    judged = [
        AgentDiagnosis(seen=seen(), signature=one, evidence="what was seen") for one in Signature
    ]
    found = {f.evidence.partition(":")[0]: f for f in findings(judged)}
    attached = found.pop("what was seen")
    assert (attached.severity, attached.remedy) == (Severity.OK, "")
    assert found.pop("settling").severity is Severity.WARNING
    assert found.pop("unknown").severity is Severity.UNKNOWN
    assert {f.severity for f in found.values()} == {Severity.FAILED}
    assert {f.subject for f in found.values()} == {"call to nova-compute"}
    assert {f.remedy for f in found.values()} == {"backstay reattach compute1"}


def test_a_restart_that_does_not_help_is_not_named() -> None:
    judged = AgentDiagnosis(
        seen=seen(), signature=Signature.REFUSED, evidence="x", remedy="make the user"
    )
    [found] = findings([judged])
    assert found.remedy == "make the user"
    [stranger] = findings([replace(judged, seen=replace(seen(), host=None), remedy="")])
    assert stranger.host is None
    assert stranger.subject.startswith("call to nova-compute on ")


def test_where_nobody_can_be_called_that_is_unknown() -> None:
    error = ApiUnreachable("asking the APIs", came_back="no answer", remedy="backstay check")
    assert not_called(error).severity is Severity.UNKNOWN
    assert "no agent was called" in not_called(error).evidence
