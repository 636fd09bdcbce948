"""libvirt: runs the instances on a compute host."""

import glob
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from backstay.answers import Count, Line
from backstay.finding import Severity
from backstay.inventory.enums import Role
from backstay.services.declaration import HostProbe, Service, Unit, Verdict


def ask_domains() -> dict[str, Any]:
    """List the domains by virsh, on the host. Runs there: see HostProbe."""
    command = ["virsh", "--readonly", "--connect", "qemu:///system", "list", "--all", "--name"]
    counts = []
    try:
        for which in ([], ["--state-running"]):
            done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
                [*command, *which],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=5,
                check=False,
            )
            if done.returncode != 0:
                return {"failed": done.stderr.decode(errors="replace").strip()[-300:]}
            counts.append(len(done.stdout.split()))
    except FileNotFoundError:
        return {"no_client": "there is no virsh on this host, by which it would be asked"}
    except subprocess.TimeoutExpired:
        return {"failed": "no answer within 5 s"}
    return {"all": counts[0], "running": counts[1]}


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainsAnswer:
    """The answer of ``ask_domains``: counts, or why there are none."""

    no_client: Line = ""
    failed: Line = ""
    all: Count | None = None
    running: Count | None = None


def judge_domains(answer: DomainsAnswer) -> Sequence[Verdict]:
    """Judge the answer of ``ask_domains``: libvirtd must answer at all."""
    if answer.no_client:
        remedy = (
            "{ssh} command -v virsh; Debian's package libvirt-clients has it; one that runs in "
            "a container Backstay cannot ask it"
        )
        return [_verdict(Severity.UNKNOWN, answer.no_client, remedy)]
    if answer.all is None or answer.running is None:
        remedy = "{ssh} systemctl restart libvirtd (instances run on); {ssh} journalctl -u libvirtd"
        return [_verdict(Severity.FAILED, f"libvirt: {answer.failed or 'no list'}", remedy)]
    word = "instance" if answer.all == 1 else "instances"
    return [_verdict(Severity.OK, f"{answer.running} of {answer.all} {word} running")]


def ask_running(folder: str = "/run/libvirt/qemu") -> list[list[Any]]:
    """List nova's guests that run: name and IPv4 addresses. Runs there: see Service.

    The states that libvirt keeps of running domains have what nova wrote into them:
    https://docs.openstack.org/nova/latest/user/metadata.html. Domains of others, and those of
    releases of nova that wrote no addresses, have none.
    """
    found = []
    for path in sorted(glob.glob(folder + "/*.xml")):  # noqa: PTH207 - as short
        try:
            tree = ElementTree.parse(path)  # noqa: S314 - libvirt's own, on its host
        except (OSError, ElementTree.ParseError):
            continue  # ended meanwhile
        for nova in tree.iter():
            if nova.tag.endswith("}instance"):
                name = [one.text for one in nova if one.tag.endswith("}name")]
                addresses = [
                    one.get("address")
                    for one in nova.iter()
                    if one.tag.endswith("}ip") and one.get("ipVersion") == "4"
                ]
                found.append([name[0] if name else "", addresses])
    return found


def _verdict(severity: Severity, evidence: str, remedy: str = "") -> Verdict:
    return Verdict(subject="domain list", severity=severity, evidence=evidence, remedy=remedy)


SERVICE = Service(
    name="libvirt",
    title="libvirt",
    restore_order=55,
    units=(
        Unit(
            name="libvirtd",
            role=Role.COMPUTE,
            purpose="nova-compute cannot start, stop or see instances on this host",
            socket="libvirtd.socket",
        ),
        Unit(
            name="virtlogd",
            role=Role.COMPUTE,
            purpose="instances cannot be started: their console output is not taken",
            socket="virtlogd.socket",
        ),
    ),
    paths=("/etc/libvirt",),
    running=ask_running,
    emulators=("qemu", "kvm"),
    host_probes=(
        HostProbe(
            name="domain list",
            roles=(Role.COMPUTE,),
            ask=ask_domains,
            returns=DomainsAnswer,
            judge=judge_domains,
            bound=11.0,
        ),
    ),
)
