"""`backstay` that stands still as a step begins: python -m tests.acceptance.stopped_run STEP ARG...

STEP is written down in the journal by then, and nothing of it is done. SIGCONT lets it go on.
"""

import os
import signal
import sys

from backstay.cli.main import main
from backstay.cli.output import run
from backstay.journal.engine import Progress


def stop_at(step: str) -> None:
    """Make the terminal's view of a run stop this process when it is told of a step."""
    show = run.Live.__call__

    def shown(self: run.Live, progress: Progress) -> None:
        show(self, progress)
        if progress.kind == "started" and progress.step.id == step:
            os.kill(os.getpid(), signal.SIGSTOP)

    run.Live.__call__ = shown  # type: ignore[method-assign]


if __name__ == "__main__":
    stop_at(sys.argv[1])
    sys.argv = ["backstay", *sys.argv[2:]]
    main()
