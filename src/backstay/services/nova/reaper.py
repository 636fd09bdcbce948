"""What nova-compute does with guests whose records are deleted."""

from dataclasses import dataclass
from typing import Any

from backstay.answers import Line
from backstay.commands import on_host
from backstay.finding import Severity
from backstay.services.declaration import Verdict
from backstay.services.oslo import setting

OPTION = "running_deleted_instance_action"


def ask_reaper() -> dict[str, Any]:
    """Return what nova-compute does with guests whose records are deleted. Runs on the host."""
    answer: dict[str, Any] = setting(
        "nova",
        "nova-compute",
        ["/etc/nova/nova.conf", "/etc/nova/nova-compute.conf"],
        "DEFAULT",
        OPTION,
    )
    return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaperAnswer:
    """What ``ask_reaper`` answers: see ``oslo.setting``."""

    value: Line | None
    where: Line
    last: Line
    stale: bool


def judge_reaper(answer: ReaperAnswer) -> Verdict:
    """Judge the answer of ``ask_reaper``: after a restore, only logging is safe. Pure.

    https://docs.openstack.org/nova/latest/configuration/config.html#DEFAULT.running_deleted_instance_action
    """
    value = (answer.value or "reap").strip().lower()
    where = f"in {answer.where}" if answer.where else "by default"
    evidence = f"{OPTION} is {value} {where}"
    restart = on_host("systemctl", "try-restart", "nova-compute")
    if value not in {"log", "noop"}:
        evidence += ": it destroys a guest whose record a restore brought back as deleted"
        return _reaper(Severity.FAILED, evidence, f"{_edit(answer)} && {restart}")
    if answer.stale:
        evidence += "; the file was changed after nova-compute had read it"
        return _reaper(Severity.WARNING, evidence, restart)
    return _reaper(Severity.OK, evidence)


def _edit(answer: ReaperAnswer) -> str:
    """Return the command that sets the option in the file that has it, or the one read last."""
    if answer.where.startswith("/"):
        edit, place = f"s/^{OPTION}\\s*=.*/{OPTION} = log/", answer.where
    else:
        edit = f"0,/^\\[DEFAULT\\]/s//[DEFAULT]\\n{OPTION} = log/"
        place = answer.last or "/etc/nova/nova.conf"
    return on_host("sed", "-i", edit, place)


def _reaper(severity: Severity, evidence: str, remedy: str = "") -> Verdict:
    return Verdict(
        subject="reaper of running deleted instances",
        severity=severity,
        evidence=evidence,
        remedy=remedy,
    )
