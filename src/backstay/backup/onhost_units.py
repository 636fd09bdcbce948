"""What a host does with its units when a backup is put back. Shipped as text: see onhost."""

import subprocess
from typing import Any


def stop(units: list[str]) -> dict[str, Any]:
    """Stop units and keep them from starting until ``start``; return those that still run."""
    subprocess.run(["systemctl", "mask", "--runtime", "--quiet", *units], check=False)
    subprocess.run(["systemctl", "stop", *units], check=False)
    return {"running": [unit for unit in units if state(unit) not in ("inactive", "failed")]}


def start(units: list[str]) -> dict[str, Any]:
    """Let units start again, and start them; return what systemd says of those that do not."""
    subprocess.run(["systemctl", "unmask", "--runtime", "--quiet", *units], check=False)
    subprocess.run(["systemctl", "reset-failed", *units], stderr=subprocess.DEVNULL, check=False)
    done = subprocess.run(
        ["systemctl", "start", *units], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip
    error = done.stderr.decode(errors="replace").strip() if done.returncode else ""
    return {"error": error[-300:]}


def state(unit: str) -> str:
    """Return the unit's ActiveState, nothing where systemd does not tell."""
    done = subprocess.run(
        ["systemctl", "show", "--property=ActiveState", unit], stdout=subprocess.PIPE, check=False
    )
    return done.stdout.decode(errors="replace").strip().partition("=")[2]
