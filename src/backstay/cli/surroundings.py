"""What a process is given by who starts it: a user, a home, a folder to stand in.

Monitoring, containers and cron start commands by users that no password database knows, without a
home, in folders that are gone. Each is said in words once; then every part of the command goes on
with something that is there.
"""

import getpass
import os
from collections.abc import Callable
from pathlib import Path

NO_HOME = "/proc/nonexistent"
"""The home of who has none: nothing is there, and nothing can be made there."""


def settle(say: Callable[[str], object]) -> None:
    """Make up for what is missing, for this process and those that it starts; ``say`` each."""
    uid = os.geteuid()
    if not os.environ.get("HOME", "/").startswith("/"):
        del os.environ["HOME"]  # what is below would be taken from wherever one stands
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = NO_HOME
        say(
            f"user {uid} has no home, as no password database knows it: no ~/.ssh and no ~/.config "
            "is read, no journal is found there; what to do: set HOME, or be another user"
        )
    try:
        getpass.getuser()
    except (KeyError, OSError):
        # No user has this name: a login by it is refused, where none was set.
        os.environ["LOGNAME"] = f"uid-{uid}"
    try:
        os.getcwd()  # noqa: PTH109 - only whether it is there
    except OSError:
        os.chdir("/")
        say("the folder that this was started in is gone: paths are taken from / on")
