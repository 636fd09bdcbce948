"""libvirt: the guests that there really are on the compute hosts."""

import os
import re
import subprocess
from typing import Any
from xml.etree import ElementTree as ET

from backstay.inventory.enums import Role
from backstay.services.instances import GUESTS, GuestsAnswer, strangers
from backstay.services.reconciliation import Evidence, HostQuestion, Reconciler


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


def notes(seen: Evidence) -> list[str]:
    """Return a note of nova's compute hosts that cloud.yaml does not have. Pure."""
    missing = [one for one in strangers(seen) if seen.host_of(one) is None]
    if not missing:
        return []
    return [f"guests of {', '.join(missing)}: nova has these compute hosts, cloud.yaml has not"]


RECONCILER = Reconciler(
    service="libvirt",
    notes=notes,
    order=10,
    questions=(
        HostQuestion(name=GUESTS, roles=(Role.COMPUTE,), ask=ask_guests, returns=GuestsAnswer),
    ),
)
