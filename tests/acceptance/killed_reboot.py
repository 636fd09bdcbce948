"""`backstay` that kills itself: python -m tests.acceptance.killed_reboot POINT ARGUMENT...

Points are counted from 1: the moments just after something was written to the journal. ``done`` is
just after the first step that ends, ``begins`` just after the second that begins.
"""

import os
import signal
import sys

from backstay.cli.main import main
from backstay.cli.output import run
from backstay.journal.engine import Progress


def kill_at(point: str) -> None:
    """Make the terminal's view of a run kill this process when it is told of something."""
    show, passed = run.Live.__call__, 0

    def shown(self: run.Live, progress: Progress) -> None:
        nonlocal passed
        passed += point.isdigit() or progress.kind == point
        if passed == {"done": 1, "started": 2}.get(point) or str(passed) == point:
            os.kill(os.getpid(), signal.SIGKILL)
        show(self, progress)

    run.Live.__call__ = shown  # type: ignore[method-assign]


if __name__ == "__main__":
    kill_at(sys.argv[1])
    sys.argv = ["backstay", *sys.argv[2:]]
    main()
