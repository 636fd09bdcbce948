"""What a test needs beside Python's packages: without it the test is left out, in CI it fails."""

import os
from collections.abc import Sequence

import pytest


def need(missing: Sequence[str], install: str) -> None:
    """Return if nothing is missing; else end the test, with the line that installs it."""
    if not missing:
        return
    why = f"missing: {', '.join(missing)}; to install it: {install}"
    if os.environ.get("CI"):
        pytest.fail(why, pytrace=False)
    pytest.skip(why)
