"""A lab host: a systemd-nspawn container with its own disk, cgroups and interfaces.

What other parts of the lab use::

    host = LabHost(lab, "compute1")
    host.power_on(); host.power_off(hard=True); host.power_state()
    host.run(["systemctl", "is-active", "nova-compute"])
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from backstay.inventory.enums import Role
from backstay_lab import cgroups, container, disk, programs, supervisor
from backstay_lab.errors import LabError
from backstay_lab.layout import (
    BMC_FOLDER,
    MANAGEMENT_INTERFACE,
    PROVIDER_INTERFACE,
    Lab,
    Network,
    Place,
    busy_bmc_file,
    restore_policy_file,
)

# what a command inside of a host finds in its environment: nothing of the operator's
ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "dumb",
    "USER": "root",
}
# systemd's own signal for "power off in an orderly way": SIGNALS in systemd(1)
ORDERLY_POWER_OFF = signal.SIGRTMIN + 4


class LabHost:
    """One host of a lab, by name. Cheap to make; holds nothing but names."""

    def __init__(self, lab: Lab, name: str) -> None:
        places = lab.places
        if name not in places:
            raise LabError(
                f"finding host {name} in lab {lab.name}",
                came_back="there is no host of that name",
                remedy=f"choose one of: {', '.join(places)}",
            )
        self.lab = lab
        self.place: Place = places[name]
        self.folder = lab.folder / "hosts" / name

    @property
    def name(self) -> str:
        """The host's name."""
        return self.place.name

    @property
    def role(self) -> Role | None:
        """The host's role as in cloud.yaml, None for what is not in it."""
        return self.place.role

    @property
    def address(self) -> str:
        """The host's management address."""
        return self.lab.address(self.place)

    @property
    def bmc_address(self) -> str:
        """The address of the host's BMC."""
        return self.lab.bmc_address(self.place)

    @property
    def root(self) -> Path:
        """The host's root file system as the machine sees it, while its disk is mounted."""
        return self.folder / "root"

    @property
    def disk_image(self) -> Path:
        """The file that holds everything the host has written."""
        return self.folder / "disk.img"

    @property
    def console(self) -> Path:
        """The log of the host's systemd and of its container."""
        return self.folder / "console.log"

    @property
    def dead_board(self) -> Path:
        """A file that, where it is there, keeps the host from ever being powered on."""
        return self.folder / "dead-board"

    @property
    def restore_policy(self) -> Path:
        """The file with what its board does when the mains come back, where that was set."""
        return self.lab.folder / BMC_FOLDER / restore_policy_file(self.name)

    @property
    def busy_bmc(self) -> Path:
        """The file that, where it is there, makes its board controller busy after orders."""
        return self.lab.folder / BMC_FOLDER / busy_bmc_file(self.name)

    @property
    def cgroup(self) -> str:
        """The name of the host's group in every cgroup hierarchy; see ``cgroups.paths``."""
        return self.lab.cgroup(self.name)

    def veth(self, network: Network) -> str:
        """Return the machine's end of one of the host's interfaces."""
        return self.lab.veth(self.place, network)

    def power_state(self) -> Literal["on", "off"]:
        """Return whether the host runs (or is between two boots of a reboot)."""
        running = self._process("supervisor") or self._process("nspawn")
        return "on" if running else "off"

    def leader(self) -> int | None:
        """Return the machine's process id of the host's PID 1; None where it does not run.

        It is a child of systemd-nspawn and has the number 1 in a process id namespace of its own
        (``NSpid`` in proc_pid_status(5)).
        """
        parent = self._process("nspawn")
        for child in container.children(parent) if parent else ():
            if container.namespace_pids(child)[-1:] == [1]:
                return child
        return None

    def power_on(self, *, target: str | None = None, bound: float = 30) -> None:
        """Start the host where it is off; return once its PID 1 runs.

        Resets what its board does when the mains come back: the caller wants it on.
        ``target`` is the systemd target to boot to instead of the default. Raises LabError where
        its disk is missing, its board is dead, or it does not start within ``bound`` seconds.
        """
        with self._power_lock():
            if self.power_state() == "on":
                return
            if self.dead_board.exists():
                raise LabError(
                    f"powering on {self.name}",
                    came_back="its board is dead",
                    remedy="backstay lab heal, or replace the host",
                )
            self.restore_policy.unlink(missing_ok=True)
            cgroups.kill(self.cgroup)
            disk.mount(self.folder)
            self._write_plan(target)
            _trim(self.console)
            supervising = subprocess.Popen(
                [sys.executable, "-I", "-S", supervisor.__file__, str(self.folder)],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._await_leader(supervising, bound)

    def power_off(self, *, hard: bool, bound: float = 120) -> None:
        """Take the host's power: at once, or by an orderly shutdown and, past ``bound``, at once.

        Returns when no process of the host is left. Raises LabError where one cannot be killed.
        """
        leader = self.leader()
        if not hard and leader:
            cgroups.thaw(self.cgroup)
            with contextlib.suppress(ProcessLookupError):
                os.kill(leader, ORDERLY_POWER_OFF)
            deadline = time.monotonic() + bound
            while self.power_state() == "on" and time.monotonic() < deadline:
                time.sleep(0.1)
        with self._power_lock():
            container.kill(self._process("supervisor"))
            self._unplug()
            if not cgroups.kill(self.cgroup):
                raise LabError(
                    f"powering off {self.name}",
                    came_back="processes of it are left that cannot be killed",
                    remedy=f"list them: cat {cgroups.paths(self.cgroup)[0]}/cgroup.procs",
                )
            container.kill(self._process("nspawn"))

    def _unplug(self) -> None:
        """Take its interfaces down: a host without power closes no connection.

        The kernel, which is the machine's own, would end the connections of killed processes.
        """
        for network in (Network.MANAGEMENT, Network.PROVIDER):
            programs.run(
                ["ip", "link", "set", "dev", self.veth(network), "down"],
                attempted=f"unplugging {self.name}",
                check=False,  # one that is off has none
            )

    def boot_id(self) -> str | None:
        """Return the boot id that the host has now; None where it does not run."""
        leader = self.leader()
        if leader is None:
            return None
        try:
            done = subprocess.run(
                [*container.entered(leader), "cat", "/proc/sys/kernel/random/boot_id"],
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
        return done.stdout.strip() or None

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        bound: float = 60,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        check: bool = True,
        accept: Sequence[int] = (0,),
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside of the host by its namespaces; no network is needed.

        Raises LabError where the host is off, the program ends with a status not in ``accept``
        (unless ``check`` is off) or does not end within ``bound`` seconds.
        """
        return programs.run(
            self.command(argv, env),
            attempted=f"running {argv[0]} on {self.name}",
            bound=bound,
            stdin=stdin,
            log=log,
            check=check,
            accept=accept,
        )

    def script(
        self, text: str, *, bound: float = 60, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a POSIX shell script inside of the host; see ``run``."""
        return self.run(["sh", "-eus"], stdin=text, bound=bound, check=check)

    def command(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> list[str]:
        """Return the machine's command line that runs a program inside of the host.

        Raises LabError where the host is off.
        """
        leader = self.leader()
        if leader is None:
            raise LabError(
                f"running {argv[0]} on {self.name}",
                came_back="the host is powered off",
                remedy=f"backstay lab up, or power on {self.name} by its BMC",
            )
        settings = [f"{key}={value}" for key, value in {**ENVIRONMENT, **(env or {})}.items()]
        return [*container.entered(leader), "env", "-i", "--chdir=/root", *settings, *argv]

    def _process(self, what: str) -> int | None:
        return container.recorded(self.folder / f"{what}.pid")

    def _write_plan(self, target: str | None) -> None:
        veths = {
            network: (self.veth(network), inside)
            for network, inside in (
                (Network.MANAGEMENT, MANAGEMENT_INTERFACE),
                (Network.PROVIDER, PROVIDER_INTERFACE),
            )
        }
        plan = {
            "argv": container.command(
                root=self.root,
                name=self.name,
                machine=container.machine_name(self.cgroup),
                veths=veths.values(),
                target=target,
            ),
            "cgroups": [str(path) for path in cgroups.paths(self.cgroup)],
            "bridges": {veth: self.lab.bridge(net) for net, (veth, _) in veths.items()},
        }
        (self.folder / "supervisor.json").write_text(json.dumps(plan, indent=1))

    def _await_leader(self, supervising: "subprocess.Popen[bytes]", bound: float) -> None:
        deadline = time.monotonic() + bound
        while time.monotonic() < deadline:
            leader = self.leader()
            if leader and container.is_systemd(leader):
                return
            if supervising.poll() is not None:
                break
            time.sleep(0.05)
        raise LabError(
            f"powering on {self.name}",
            came_back=f"it did not start within {bound:.0f} s: {_last_line(self.console)}",
            remedy=f"read {self.console}",
        )

    @contextmanager
    def _power_lock(self) -> Iterator[None]:
        """One change of power at a time, also between processes (the BMC is one)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "power.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def all_hosts(lab: Lab, names: Sequence[str] | None = None) -> list[LabHost]:
    """Return the lab's hosts, or those named, in the lab's order."""
    return [LabHost(lab, name) for name in lab.places if names is None or name in names]


def _last_line(log: Path) -> str:
    """Return the last line before the supervisor's own, which explains why a container ended."""
    with contextlib.suppress(OSError):
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        output = [line for line in lines if not line.startswith(("-- ", "Attempted to remove"))]
        return output[-1] if output else "it printed nothing"
    return "it printed nothing"


def _trim(log: Path, limit: int = 1_000_000) -> None:
    """Delete a log that has grown beyond ``limit`` bytes."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > limit:
            log.unlink()
