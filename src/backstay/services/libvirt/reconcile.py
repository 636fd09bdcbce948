"""libvirt: the guests that there really are on the compute hosts."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from backstay.inventory.enums import Role
from backstay.services.reconciliation import Evidence, Question, Reconciler

GUESTS = "guests"
NODES = "nova compute nodes"
RUNNING, OFF = "running", "off"
_STATES = {1: RUNNING, 2: RUNNING, 3: "paused", 4: RUNNING, 5: OFF, 6: "crashed", 7: "suspended"}
"""https://libvirt.org/html/libvirt-libvirt-domain.html#virDomainState; 4 is on its way to off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A guest as libvirt has it. ``volumes`` are cinder's among its disks, ``macs`` its cards'."""

    id: str
    name: str
    host: str
    state: str
    volumes: frozenset[str]
    macs: frozenset[str]

    @property
    def runs(self) -> bool:
        """Whether it has a process: what is paused has one, too."""
        return self.state in {RUNNING, "paused"}


def ask_guests() -> dict[str, Any]:
    """List the domains that nova made: identity, state, volumes, MACs. Runs on the host.

    All descriptions are read by one ``virsh``: a hundred guests are no more round trips than one.
    ``kept`` are the identities that have a disk in nova's folder, with or without a domain.
    """
    identities = virsh("list --all --uuid").split()
    found = []
    for at in range(0, len(identities), 100):
        part = identities[at : at + 100]
        texts = virsh("; ".join("dumpxml " + one for one in part))
        found += [described(text) for text in domains(texts)]
    known = {one["id"] for one in found}
    lost = [one for one in identities if one.lower() not in known]
    if lost and set(lost) & set(virsh("list --all --uuid").split()):
        raise OSError("virsh did not describe " + ", ".join(lost[:4]))
    states = power_states(virsh("domstats --state"))
    made = [dict(one, state=states.get(one["domain"], 0)) for one in found if one["nova"]]
    folder = "/var/lib/nova/instances"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - as short
    except OSError:
        names = []
    kept = [one for one in names if os.path.exists(folder + "/" + one + "/disk")]  # noqa: PTH110
    return {"guests": made, "kept": sorted(kept)}


def virsh(commands: str) -> str:
    """Return what virsh prints for one or more commands; only reading ones are let through."""
    done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
        ["virsh", "--readonly", "--quiet", "--connect", "qemu:///system", commands],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=10,
        check=False,
    )
    # A guest that has gone between listing and describing is an error that says nothing of others.
    said = done.stderr.decode(errors="replace").strip()
    if (
        done.returncode != 0
        and "Domain not found" not in said
        and "failed to get domain" not in said
    ):
        raise OSError("virsh: " + said[-300:])
    return done.stdout.decode(errors="replace")


def domains(texts: str) -> list[str]:
    """Return each description by itself."""
    return re.findall(r"<domain .*?^</domain>", texts, re.S | re.M)


def described(text: str) -> dict[str, Any]:
    """Return what is of interest of a domain's description.

    A disk of cinder's has the volume's identity as its serial number:
    https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms
    """
    tree = ET.fromstring(text)  # noqa: S314 - libvirt's own, on its host
    name = tree.findtext("name") or ""
    nova = next(tree.iter("{http://openstack.org/xmlns/libvirt/nova/1.1}instance"), None)
    if nova is None:
        nova = next(tree.iter("{http://openstack.org/xmlns/libvirt/nova/1.0}instance"), None)
    title = ""
    if nova is not None:
        title = nova.findtext("{" + nova.tag[1:].partition("}")[0] + "}name") or ""
    serials = [one.text or "" for one in tree.findall("devices/disk/serial")]
    return {
        "id": (tree.findtext("uuid") or "").lower(),
        "domain": name,
        "name": title or name,
        "nova": nova is not None or bool(re.match(r"instance-[0-9a-f]{8}$", name)),
        "volumes": [one for one in serials if re.match(r"[0-9a-f-]{36}$", one)],
        "macs": [one.get("address", "").lower() for one in tree.findall("devices/interface/mac")],
    }


def power_states(text: str) -> dict[str, int]:
    """Return libvirt's numbers for the state of each domain, by its name."""
    found, name = {}, ""
    for line in text.splitlines():
        if line.startswith("Domain: "):
            name = line[len("Domain: ") :].strip().strip("'")
        elif line.strip().startswith("state.state="):
            found[name] = int(line.partition("=")[2])
    return found


def guests(seen: Evidence) -> Iterator[Guest]:
    """Yield every guest of every compute host that answered. Pure."""
    for host, told in seen.told.get(GUESTS, {}).items():
        for one in told["guests"]:
            yield Guest(
                id=one["id"],
                name=one["name"],
                host=host,
                state=_STATES.get(one["state"], "in an unknown state"),
                volumes=frozenset(one["volumes"]),
                macs=frozenset(one["macs"]),
            )


def nowhere(seen: Evidence) -> bool:
    """Say whether what no host's answer names is on no host. Pure.

    A compute host that did not answer, or that cloud.yaml does not have, may have any guest: then
    nothing is free to be deleted.
    """
    return seen.whole(GUESTS) and seen.has(NODES) and not _strangers(seen)


def _strangers(seen: Evidence) -> list[str]:
    """Return the hosts on which nova has a hypervisor, and whose guests were not asked for."""
    hosts = {row["host"] for row in seen.rows.get(NODES, ())}
    return sorted(one for one in hosts if seen.host_of(one) not in seen.told.get(GUESTS, {}))


def unasked(seen: Evidence) -> str:
    """Return in words who did not answer, for a proposal. Pure."""
    silent = sorted({*seen.silent.get(GUESTS, ()), *_strangers(seen)})
    return f"ask {', '.join(silent) or 'the compute hosts'} first: its guest may run there"


def notes(seen: Evidence) -> list[str]:
    """Say which of nova's compute hosts cloud.yaml does not have. Pure."""
    missing = [one for one in _strangers(seen) if seen.host_of(one) is None]
    if not missing:
        return []
    return [f"guests of {', '.join(missing)}: nova has these compute hosts, cloud.yaml has not"]


def has_disk(told: Mapping[str, Any], identity: str) -> bool:
    """Say whether a host still has an instance's own disk. Pure."""
    return identity in told["kept"]


RECONCILER = Reconciler(
    service="libvirt",
    # It keeps no records itself; these are nova's of where it runs.
    records={
        NODES: "SELECT uuid, IFNULL(host, '') AS host, IFNULL(hypervisor_hostname, '') AS node "
        "FROM nova.compute_nodes WHERE deleted = 0",
    },
    notes=notes,
    questions=(Question(name=GUESTS, roles=(Role.COMPUTE,), ask=ask_guests),),
)
