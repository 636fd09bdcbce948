"""What nova-compute does with guests whose records are deleted."""

from collections.abc import Mapping
from typing import Any

from backstay.finding import Severity
from backstay.services.declaration import Verdict
from backstay.services.oslo import setting


def ask_reaper() -> dict[str, Any]:
    """Return what nova-compute does with guests whose records are deleted. Runs on the host."""
    answer: dict[str, Any] = setting(
        "nova",
        "nova-compute",
        ["/etc/nova/nova.conf", "/etc/nova/nova-compute.conf"],
        "DEFAULT",
        "running_deleted_instance_action",
    )
    return answer


def judge_reaper(answer: Mapping[str, Any]) -> Verdict:
    """Judge the answer of ``ask_reaper``: after a restore, only logging is safe. Pure.

    https://docs.openstack.org/nova/latest/configuration/config.html#DEFAULT.running_deleted_instance_action
    """
    value = (answer["value"] or "reap").strip().lower()
    where = f"in {answer['where']}" if answer["where"] else "by default"
    evidence = f"running_deleted_instance_action is {value} {where}"
    option = "running_deleted_instance_action"
    if str(answer["where"]).startswith("/"):
        edit = f"sed -i 's/^{option}\\s*=.*/{option} = log/' {answer['where']}"
    else:
        place = answer["last"] or "/etc/nova/nova.conf"
        edit = f"sed -i '0,/^\\[DEFAULT\\]/s//[DEFAULT]\\n{option} = log/' {place}"
    remedy = f'{{ssh}} "{edit}" && {{ssh}} systemctl try-restart nova-compute'
    if value not in {"log", "noop"}:
        evidence += ": it destroys a guest whose record a restore brought back as deleted"
        return _reaper(Severity.FAILED, evidence, remedy)
    if answer["stale"]:
        evidence += "; the file was changed after nova-compute had read it"
        return _reaper(Severity.WARNING, evidence, "{ssh} systemctl try-restart nova-compute")
    return _reaper(Severity.OK, evidence)


def _reaper(severity: Severity, evidence: str, remedy: str = "") -> Verdict:
    return Verdict(
        subject="reaper of running deleted instances",
        severity=severity,
        evidence=evidence,
        remedy=remedy,
    )
