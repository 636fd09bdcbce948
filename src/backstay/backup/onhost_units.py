"""Units of a host are stopped, kept from starting, and started. Shipped as text: Python 3.6."""

import subprocess
from typing import Any


def stop(units: list[str]) -> dict[str, Any]:
    """Stop units, and what would start them again, and keep all from starting until ``start``.

    Returns those that still run, and the active units (sockets, timers) that trigger them. A mask
    at run time ends with the boot: https://www.freedesktop.org/software/systemd/man/systemctl.html
    """
    # Masked: an earlier call was interrupted.
    triggers = [
        one
        for one in triggered_by(units)
        if state(one) == "active" or show("LoadState", [one]) == "masked"
    ]
    chosen = triggers + units
    subprocess.run(["systemctl", "mask", "--runtime", "--quiet", *chosen], check=False)
    subprocess.run(["systemctl", "stop", *chosen], check=False)
    still = [unit for unit in chosen if state(unit) not in ("inactive", "failed")]
    return {"running": still, "triggers": triggers}


def start(units: list[str], triggers: list[str]) -> dict[str, Any]:
    """Let units start again, and start them with those of ``triggers`` that are theirs.

    Returns what systemd says where that fails, an empty text where it does not.
    """
    mine = [one for one in triggered_by(units) if one in triggers] + units
    # Settings of units may have been put back.
    subprocess.run(["systemctl", "daemon-reload"], stderr=subprocess.DEVNULL, check=False)
    subprocess.run(["systemctl", "unmask", "--runtime", "--quiet", *mine], check=False)
    subprocess.run(["systemctl", "reset-failed", *mine], stderr=subprocess.DEVNULL, check=False)
    done = subprocess.run(
        ["systemctl", "start", *mine],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    error = done.stderr.decode(errors="replace").strip() if done.returncode else ""
    return {"error": error[-300:]}


def allow(units: list[str], enable: list[str]) -> dict[str, Any]:
    """Let units start again without starting them, and those of ``enable`` at every boot."""
    command = ["systemctl", "unmask", "--runtime", "--quiet", *triggered_by(units), *units]
    subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
    wanting = [unit for unit in enable if show("UnitFileState", [unit]) == "disabled"]
    if wanting:
        subprocess.run(
            ["systemctl", "enable", "--quiet", *wanting], stderr=subprocess.DEVNULL, check=False
        )
    return {"enabled": wanting}


def triggered_by(units: list[str]) -> list[str]:
    """Return the units that start any of ``units``: sockets, timers, paths."""
    shown = show("TriggeredBy", units).split()
    return sorted(set(shown))


def state(unit: str) -> str:
    """Return the unit's ActiveState, nothing where systemd does not report it."""
    return show("ActiveState", [unit])


def show(name: str, units: list[str]) -> str:
    """Return one property of units, a line each."""
    command = ["systemctl", "show", "--value", "--property=" + name, *units]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    return done.stdout.decode(errors="replace").strip()
