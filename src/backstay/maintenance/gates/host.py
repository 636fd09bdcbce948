"""The gate that asks whether the host itself would come back."""

from collections.abc import Sequence

from backstay.finding import Finding, Severity
from backstay.health.remedy import on
from backstay.maintenance.gates.asked import GateInput
from backstay.maintenance.refusal import Refusal

NAME = "host"


async def gate(asked: GateInput) -> Sequence[Refusal]:
    """Refuse where packages are half-done, a disk is full or the kernel to boot is missing."""
    target = asked.cloud.ssh_target(asked.cloud.hosts[asked.host])
    told = asked.on_host
    if not told:
        reason = "the host could not be asked about its packages and its kernel"
        return [
            Refusal(
                gate=NAME,
                reason=reason,
                remedy=f"backstay check {asked.host}; or, if it "
                f"hangs and that is why you reboot it: --despite {NAME}",
            )
        ]
    found = []
    if told["packaging"]:
        reason = f"a package manager is at work: {told['packaging']}"
        remedy = on(target, "fuser -v /var/lib/dpkg/lock-frontend")
        found.append(Refusal(gate=NAME, reason=reason, remedy=f"wait for it; who: {remedy}"))
    if told["half_done"]:
        reason = f"a package upgrade is half-done: {told['half_done']}"
        remedy = on(target, "dpkg --configure -a")
        found.append(Refusal(gate=NAME, reason=reason, remedy=remedy))
    if told["kernel"]:
        reason = f"what it would boot is not there: {', '.join(told['kernel'])}"
        remedy = on(target, "update-initramfs -u -k all && update-grub")
        found.append(Refusal(gate=NAME, reason=reason, remedy=remedy))
    return found + [_full(finding) for finding in asked.findings if _is_full(finding, asked.host)]


def _is_full(finding: Finding, host: str) -> bool:
    return (
        finding.host == host
        and finding.severity is Severity.FAILED
        and finding.subject.startswith(("disk ", "inodes "))
    )


def _full(finding: Finding) -> Refusal:
    reason = f"{finding.subject} is full: {finding.evidence}"
    return Refusal(gate=NAME, reason=reason, remedy=finding.remedy)
