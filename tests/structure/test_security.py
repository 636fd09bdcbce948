"""docs/security.md: every defence names modules and tests, and they exist."""

import re
from pathlib import Path

TOP = Path(__file__).parents[2]
TEXT = (TOP / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?!what somebody|---)(.+) \| (.+) \| (.+); (.+) \|$", TEXT, re.MULTILINE)


def test_every_row_names_modules_and_tests_that_exist() -> None:
    assert len(ROWS) == TEXT.count("\n| ") - 2, "a row has another form"
    for attempt, _, modules, tests in ROWS:
        for names, folder in ((modules, TOP / "src" / "backstay"), (tests, TOP)):
            found = re.findall(r"`([\w/]+\.py)`", names)
            assert found, attempt
            assert [name for name in found if not (folder / name).is_file()] == [], attempt
        assert all(name.startswith("tests/") for name in re.findall(r"`([\w/.]+)`", tests))


def test_files_that_are_named_elsewhere_exist() -> None:
    for name in re.findall(r"`(tests/[\w/.]+)`|\]\((?!#)([\w./-]+)", TEXT):
        path = TOP / name[0] if name[0] else TOP / "docs" / name[1]
        assert path.exists(), path
