"""What tests of backups share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backup.server import Server


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # What Backstay asks on a host uses the client's own settings.
    (tmp_path / ".my.cnf").write_text(f"[client]\nsocket={tmp_path}/s\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Server(tmp_path / "data", tmp_path / "s")
    made.build()
    yield made
    made.stop(kill=True)
