"""A driver that is not installed is named, with the extra that brings it."""

import asyncio
import sys
from pathlib import Path

import pytest

from backstay.errors import BackstayError
from backstay.journal.locks import keeper
from backstay.journal.records import JournalError
from backstay.journal.store import Store


@pytest.mark.parametrize(
    ("url", "package", "remedy"),
    [
        ("postgresql+psycopg://ann:secret@db/x", "psycopg", "pip install 'backstay[postgresql]';"),
        ("postgresql://ann:secret@db/x", "psycopg", "pip install 'backstay[postgresql]';"),
        ("mysql+pymysql://ann:secret@db/x", "pymysql", "pip install 'backstay[mariadb]';"),
        ("mysql://ann:secret@db/x", "MySQLdb", "pip install mysqlclient;"),
    ],
)
def test_of_the_journal(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str, remedy: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(JournalError) as raised:
        Store(url)
    assert raised.value.came_back == f"the Python package {package} is missing"
    assert remedy in raised.value.remedy
    assert "secret" not in f"{raised.value} {raised.value.remedy}"


def test_of_the_journal_without_the_library_below_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "psycopg", raising=False)
    (tmp_path / "psycopg.py").write_text("raise ImportError('no pq wrapper available')")
    with pytest.raises(JournalError) as raised:
        Store("postgresql+psycopg://db/x")
    assert raised.value.came_back == "no pq wrapper available"
    assert "pip install 'backstay[postgresql]';" in raised.value.remedy


@pytest.mark.parametrize(
    ("url", "package", "install"),
    [
        ("etcd3+http://127.0.0.1:1", "etcd3gw", "pip install 'backstay[etcd]'"),
        ("postgresql://ann:secret@db/backstay", "psycopg2", "pip install psycopg2-binary;"),
    ],
)
def test_of_locks(monkeypatch: pytest.MonkeyPatch, url: str, package: str, install: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for name in [one for one in sys.modules if one.startswith("tooz.drivers.")]:
        monkeypatch.delitem(sys.modules, name)

    async def use() -> None:
        async with keeper(url):
            pass

    with pytest.raises(BackstayError) as raised:
        asyncio.run(use())
    assert raised.value.came_back == f"the Python package {package} is missing"
    assert install in raised.value.remedy
    assert "BACKSTAY_LOCKS" in raised.value.remedy
