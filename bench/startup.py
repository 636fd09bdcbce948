"""How long ``backstay --help`` takes: ``python -m bench.startup``."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

BACKSTAY = Path(sys.executable).with_name("backstay")
RUNS = 15


# With byte code cached, as on an installed tool.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def seconds(*command: str | Path) -> float:
    """Median wall-clock time of a command, whatever its exit status."""
    taken = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run(command, check=False, capture_output=True, env=ENVIRONMENT)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    """Print the median, beside Python's own start."""
    python = seconds(sys.executable, "-c", "pass")
    help_text = seconds(BACKSTAY, "--help")
    print(f"backstay --help: {help_text * 1000:.0f} ms (python alone: {python * 1000:.0f} ms)")


if __name__ == "__main__":
    main()
