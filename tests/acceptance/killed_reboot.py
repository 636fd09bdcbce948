"""`backstay` that kills itself: python -m tests.acceptance.killed_reboot POINT ARGUMENT...

Points are counted from 1: the moments just after something was written to the journal.
"""

import os
import signal
import sys

from backstay.cli.main import main
from backstay.cli.output import run
from backstay.journal.engine import Progress


def kill_at(point: int) -> None:
    """Make the terminal's view of a run kill this process when it is told of something."""
    show, passed = run.Live.__call__, 0

    def shown(self: run.Live, progress: Progress) -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)
        show(self, progress)

    run.Live.__call__ = shown  # type: ignore[method-assign]


if __name__ == "__main__":
    kill_at(int(sys.argv[1]))
    sys.argv = ["backstay", *sys.argv[2:]]
    main()
