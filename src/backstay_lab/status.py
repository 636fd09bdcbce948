"""What ``lab status`` prints, read from the machine."""

from dataclasses import asdict, dataclass

from backstay_lab import faults, state
from backstay_lab.hosts import LabHost, all_hosts
from backstay_lab.layout import BMC_PORT


@dataclass(frozen=True, slots=True)
class HostStatus:
    """One host as it is now."""

    name: str
    role: str
    address: str
    power: str
    bmc: str
    boot_id: str | None


def read(name: str) -> dict[str, object]:
    """Return the lab's status as the JSON object that the command prints.

    Its members: ``name``, ``phase`` (down, building, starting, up), ``login`` (root, operator),
    ``folder``, ``cloud_file`` and ``openrc`` (paths, null while the lab is not up), ``hosts``, a
    list of objects with ``name``, ``role``, ``address``, ``power`` (on, off, absent), ``bmc`` (URL)
    and ``boot_id``, and ``faults``, those made and not healed: objects with ``fault``, ``target``
    and ``at`` (UTC, ISO 8601). Raises LabError where there is no such lab.
    """
    known = state.opened(name)
    lab = known.lab
    is_up = lab.cloud_file.exists()
    return {
        "name": lab.name,
        "phase": str(known.phase),
        "login": str(lab.login),
        "folder": str(lab.folder),
        "cloud_file": str(lab.cloud_file) if is_up else None,
        "openrc": str(lab.openrc) if is_up else None,
        "hosts": [asdict(_host(host)) for host in all_hosts(lab)],
        "faults": [
            {"fault": made.fault, "target": made.target, "at": made.at}
            for made in faults.active_faults(lab)
        ],
    }


def _host(host: LabHost) -> HostStatus:
    present = host.disk_image.exists() or host.dead_board.exists()
    return HostStatus(
        name=host.name,
        role=str(host.role or host.name),
        address=host.address,
        power=host.power_state() if present else "absent",
        bmc=f"https://{host.bmc_address}:{BMC_PORT}",
        boot_id=host.boot_id(),
    )
