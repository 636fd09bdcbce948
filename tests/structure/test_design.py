"""docs/design.md names rooms, modules and functions that exist."""

import re
from pathlib import Path

from bench.source import read

from tests.structure import rules

TOP = Path(__file__).parents[2]
TEXT = (TOP / "docs" / "design.md").read_text(encoding="utf-8")
SOURCE = read(TOP / "src" / "backstay")


def is_there(name: str) -> bool:
    """Return whether a dotted name is a package, a module, or what a module defines."""
    whole = f"backstay.{name}"
    module, _, defined = whole.rpartition(".")
    return whole in SOURCE.modules or (
        module in SOURCE.modules
        and re.search(rf"\b{defined}\b", SOURCE.modules[module].text) is not None
    )


def test_modules_and_functions_exist() -> None:
    rooms = "|".join(rules.LEVELS)
    names = sorted(set(re.findall(rf"`((?:{rooms})(?:\.\w+)+)`", TEXT)))
    assert len(names) > 20
    assert [name for name in names if not is_there(name)] == []


def test_the_drawing_shows_every_room_and_no_other() -> None:
    tree = re.findall(r"^  (\w+)/", TEXT, re.MULTILINE)
    assert sorted(tree) == sorted(rules.LEVELS)
    inner = re.findall(r"^    (\w+)/", TEXT, re.MULTILINE)
    assert [name for name in inner if f"backstay.watch.{name}" not in SOURCE.modules] == []


def test_tests_and_scripts_exist() -> None:
    for path in re.findall(r"`((?:tests|bench|docs)/[\w/.]+)`", TEXT):
        assert (TOP / path).exists(), path
