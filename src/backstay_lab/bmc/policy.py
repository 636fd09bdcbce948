"""What a board does when the mains come back: Redfish's ``PowerRestorePolicy``.

https://redfish.dmtf.org/schemas/v1/ComputerSystem.v1_22_0.json
"""

from pathlib import Path

NAME = "PowerRestorePolicy"
ALWAYS_OFF, LAST_STATE = "AlwaysOff", "LastState"
POLICIES = ("AlwaysOn", ALWAYS_OFF, LAST_STATE)


def policy(kept: Path) -> str:
    """Return the policy that a board keeps in a file, ``LastState`` where none was set."""
    try:
        return kept.read_text().strip()
    except FileNotFoundError:
        return LAST_STATE
