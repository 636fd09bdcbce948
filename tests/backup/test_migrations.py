"""The schemas that an installed release expects, against those of a real Zed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from backstay.access.shipping import source_of
from backstay.backup import proof
from backstay.backup.migrations import expected_heads, heads_of, revision
from backstay.backup.selection import migrations
from backstay.services.registry import all_services

# What a controller's files say of themselves, and what its databases then named.
ZED: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "alembic-zed.json").read_text())


@pytest.mark.parametrize("database", ZED)
def test_the_heads_are_what_an_upgraded_database_names(database: str) -> None:
    assert heads_of(ZED[database]["versions"]) == sorted(ZED[database]["database"])


def test_every_database_says_where_its_versions_are() -> None:
    declared = {name for service in all_services() for name in service.databases}
    assert set(migrations(all_services())) == declared == set(ZED)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("revision = 'b'\ndown_revision = 'a'\n", ("b", ["a"])),
        ("revision = 'a'\ndown_revision = None\ndepends_on = None", ("a", [])),
        ("revision = 'c'\ndown_revision = ('a', 'b')\ndepends_on = ['x']", ("c", ["a", "b", "x"])),
        (
            "from typing import Union\nrevision: str = 'b'\ndown_revision: Union[str] = 'a'",
            ("b", ["a"]),
        ),
        ("revision: str\nrevision = 'a'\ndown_revision = None", ("a", [])),
        ("revision = 'b'\ndown_revision = 'a'\ndepends_on = (cli.EXPAND_BRANCH,)", ("b", ["a"])),
        ("import os\nhelper = 1\n", (None, [])),
    ],
)
def test_a_version_is_read_without_running_it(source: str, told: Any) -> None:
    assert revision(source) == told


def made(folder: Path, package: str, **files: str) -> str:
    versions = folder / package / "db" / "versions" / "zed"
    versions.mkdir(parents=True)
    for name, text in files.items():
        (versions / f"{name}.py").write_text(text)
    return f"{package}/db/versions"


def test_where_the_release_cannot_be_read_it_is_said_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    one = "revision = 'a'\ndown_revision = None"
    folders = {
        "well": made(tmp_path, "backstay_well", a=one, b="revision = 'b'\ndown_revision = 'a'"),
        "gone": "backstay_gone/db/versions",
        "empty": made(tmp_path, "backstay_empty"),
        "broken": made(tmp_path, "backstay_broken", a=one, b="revision = = 'b'"),
        "computed": made(tmp_path, "backstay_computed", a=one, b="revision = 'b' + name()"),
        "after": made(tmp_path, "backstay_after", b="revision = 'b'\ndown_revision = name()"),
    }
    told = expected_heads(folders)
    assert told["heads"] == {"well": ["b"]}
    assert set(told["unknown"]) == {"gone", "empty", "broken", "computed", "after"}
    assert told["unknown"]["gone"] == "the host's python3 has no package backstay_gone"
    assert "holds no versions" in told["unknown"]["empty"]


def test_it_can_be_shipped() -> None:
    # Run there as a text: what it needs must be all in it.
    text = source_of(expected_heads)
    scope: dict[str, Any] = {}
    exec(text, scope)
    assert scope["expected_heads"]({"x": "backstay_gone/db"})["heads"] == {}
    assert "backstay" not in {name.split(".")[0] for name in scope} & set(sys.modules)


def test_an_outdated_schema_is_told_with_its_remedy() -> None:
    known = migrations(all_services())
    restored = {"nova": ["8f2f1571d55b"], "glance": ["wallaby_contract01", "wallaby_expand01"]}
    expected = {"nova": ["ccb0fa1a2252"], "glance": ["wallaby_contract01"], "cinder": ["x"]}
    assert proof.outdated_schemas(expected, restored, known) == [
        "nova has schema 8f2f1571d55b, its release expects ccb0fa1a2252: was `nova-manage db sync` "
        "not run?"
    ]
    assert proof.outdated_schemas({"neutron": ["a", "b"]}, {"neutron": ["a"]}, known)
