"""The board controllers' process: started in the background, found again, stopped."""

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from backstay_lab import cgroups, programs
from backstay_lab.bmc.certificates import ensure_authority, ensure_certificate
from backstay_lab.errors import LabError
from backstay_lab.files import write_private
from backstay_lab.layout import BMC_FOLDER, Lab, Network

MODULE = "backstay_lab.bmc"
EARLIER_MODULE = "backstay.lab.bmc"
"""Of labs that were started before the lab was a package of its own."""
USER = "admin"
START_BOUND = 20.0  # seconds until the process must have bound all addresses
STOP_BOUND = 5.0  # seconds from SIGTERM to SIGKILL


def start(lab: Lab) -> None:
    """Start the board controllers of all of a lab's hosts, nothing where they run already.

    The lab's management bridge must be there; the controllers' addresses are put onto it. All
    files are in ``bmc`` in the lab's folder: ``ca.pem`` for clients to check the certificates
    against, ``HOST.password`` (0600) for user ``admin``, kept from an earlier start, and ``log``.
    Raises LabError where the process does not come up within START_BOUND seconds.
    """
    bmc, hosts = lab.folder / BMC_FOLDER, list(lab.places)
    bmc.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = {
        "slot": lab.slot,
        "computes": lab.computes,
        "login": lab.login.value,
        "hosts": hosts,
    }
    _put_addresses_up(lab, hosts)
    if running(lab):
        if _configured(bmc) == wanted:
            return
        stop(lab)
    ensure_authority(bmc, lab.name)
    for host in hosts:
        ensure_certificate(bmc, lab.name, host, lab.bmc_address(lab.places[host]))
        _ensure_password(bmc, host)
    (bmc / "serves.json").write_text(json.dumps(wanted))
    _spawn(lab)


def stop(lab: Lab) -> None:
    """Stop the board controllers of a lab; nothing where none run.

    A host that was powered on by its controller keeps running. The addresses go with the bridge.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _processes(lab):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if _gone(lab, STOP_BOUND):
            return


def running(lab: Lab) -> bool:
    """Return whether the lab's board controllers run."""
    return bool(_processes(lab))


def _processes(lab: Lab) -> list[int]:
    """Return the process's id: found by its control group and its command line.

    This needs no record, so that the process is found even if its starter was killed; other
    members of the group are hosts that were powered on by their controller.
    """
    return [pid for pid in cgroups.processes(lab.cgroup("bmc")) if _is_ours(pid, lab)]


def _is_ours(pid: int, lab: Lab) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    ours = ([b"-m", module.encode(), lab.name.encode(), b""] for module in (MODULE, EARLIER_MODULE))
    return arguments[-4:] in ours


def _spawn(lab: Lab) -> None:
    """Start the process and wait until it prints ``serving``."""
    bmc = lab.folder / BMC_FOLDER
    log = bmc / "log"
    joiner = cgroups.joiner(cgroups.create(lab.cgroup("bmc")))
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE, lab.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd="/",
            start_new_session=True,
            preexec_fn=joiner,  # noqa: PLW1509  # only system calls in there
        )
    assert process.stdout is not None  # noqa: S101  # by stdout=PIPE
    ready, _, _ = select.select([process.stdout], [], [], START_BOUND)
    output = process.stdout.readline() if ready else b""
    process.stdout.close()
    if output.strip() != b"serving":
        stop(lab)
        raise LabError(
            "starting the lab's board controllers",
            came_back=_last_line(log) if ready else f"no answer within {START_BOUND:.0f} s",
            remedy=f"read {log}, then run 'backstay lab up' again",
        )


def _gone(lab: Lab, bound: float) -> bool:
    until = time.monotonic() + bound
    while running(lab):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _put_addresses_up(lab: Lab, hosts: Sequence[str]) -> None:
    """Add the controllers' addresses to the machine, each as a /32: the bridge has the net."""
    bridge = lab.bridge(Network.MANAGEMENT)
    for host in hosts:
        address = lab.bmc_address(lab.places[host])
        programs.run(
            ["ip", "address", "replace", f"{address}/32", "dev", bridge],
            attempted=f"giving the board controller of {host} its address",
        )


def _configured(bmc: Path) -> dict[str, object]:
    try:
        return dict(json.loads((bmc / "serves.json").read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _ensure_password(bmc: Path, host: str) -> None:
    """Make a password and the bcrypt digest that sushy-tools asks for.

    The digest is a cheap one (cost 4): the password has 128 random bits, and an expensive digest
    would cost every request of the lab a tenth of a second.
    """
    import bcrypt  # noqa: PLC0415  # comes with sushy-tools

    password_file, digest_file = bmc / f"{host}.password", bmc / f"{host}.htpasswd"
    if password_file.exists() and digest_file.exists():
        return
    password = secrets.token_urlsafe(16)
    digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    write_private(digest_file, f"{USER}:{digest}\n")
    write_private(password_file, f"{password}\n")


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it ended without output"
