"""When hosts are usable: waits with a bound."""

import socket
import time
from collections.abc import Callable

from backstay_lab.errors import LabError
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Login


def await_condition(
    problems: Callable[[], list[str]], *, attempted: str, bound: float, pause: float, remedy: str
) -> None:
    """Ask until there is no problem left; raise LabError with the last ones after ``bound`` s."""
    deadline = time.monotonic() + bound
    while found := problems():
        if time.monotonic() > deadline:
            raise LabError(attempted, came_back="; ".join(found), remedy=remedy)
        time.sleep(pause)


def await_ssh(host: LabHost, bound: float = 60) -> None:
    """Wait until the host's SSH server greets. Raises LabError."""
    await_condition(
        lambda: _no_greeting(host),
        attempted=f"waiting for SSH on {host.name}",
        bound=bound,
        pause=0.2,
        remedy=f"read {host.folder / 'console.log'}",
    )


_GREETING = "exec 3<>/dev/tcp/127.0.0.1/22; head -c 4 <&3"


def _no_greeting(host: LabHost) -> list[str]:
    if host.lab.login is Login.OPERATOR:  # this machine may ask the bastion only
        done = host.run(["timeout", "5", "bash", "-c", _GREETING], check=False, bound=20)
        return [] if done.stdout == "SSH-" else ["port 22 does not answer as SSH"]
    try:
        with socket.create_connection((host.address, 22), timeout=2) as connection:
            connection.settimeout(5)
            if connection.recv(4) == b"SSH-":
                return []
    except OSError as error:
        return [str(error)]
    return ["port 22 does not answer as SSH"]


def await_units(host: LabHost, bound: float = 300) -> None:
    """Wait until the host's systemd has finished starting. Raises LabError."""
    await_condition(
        lambda: _starting(host),
        attempted=f"waiting for {host.name} to start its services",
        bound=bound,
        pause=1,
        remedy=f"backstay lab shell {host.name} systemctl list-jobs",
    )


def _starting(host: LabHost) -> list[str]:
    done = host.run(["systemctl", "is-system-running"], check=False, bound=20)
    state = done.stdout.strip()
    return [] if state in ("running", "degraded") else [f"systemd is {state or 'silent'}"]
