"""The old words are gone: a search for them over all that the project publishes finds none.

Each pattern is an old word as it was in options, JSON, API paths, metrics, tables, names of classes
and modules, or texts. docs/design.md has the words of today.
"""

import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
WHOLE = (
    "src",
    "docs",
    "packaging",
    "tests",
    "bench",
    "README.md",
    "demo.sh",
    "Makefile",
    "install.sh",
)
CODE = ("src", "tests", "bench")

EXCEPTIONS: dict[str, str] = {
    "tests/structure/test_vocabulary.py": "names the words to look for",
    "tests/fixtures/old_version/": "written by the old version",
    "tests/test_old_version.py": "reads those files",
    "src/backstay/cli/earlier_units.py": "translates command lines of old units",
    "tests/cli/test_earlier_units.py": "tests that",
    "src/backstay/journal/plan.py": "reads plans of old journals",
    "src/backstay/journal/records.py": "reads results of old journals",
    "src/backstay/journal/result.py": "reads results of old journals",
    "src/backstay/watch/incidents/migrations.py": "upgrades old journals",
    "tests/journal/test_result.py": "tests that",
    "tests/runbooks/test_old_": "tests that",
    "tests/runbooks/test_reconcile_repair.py": "tests that, for one result",
    "tests/watch/test_migrations": "tests that",
    "docs/watch-notifications.md": "lists what receivers of the webhook rename",
    "tests/cli/test_commands_in_texts.py": "tests that an option which is gone is found",
    "src/backstay_lab/data/": "the content of built hosts: other words build them again",
    "tests/backstay_lab/data/": "output of other programs",
}
"""Where the old words may be, by the beginning of the path, and why."""

WORDS: dict[str, tuple[str, tuple[str, ...]]] = {
    # public names
    "Telling": (r"\b_?[Tt]ellings?\b|backstay_tellings|_tellings\b|\btelling_", WHOLE),
    "Word": (r"\bWord\b|[\"']word[\"']\s*[:\]]|\.word\b|watch-telling", WHOLE),
    "words of a notification": (
        r"[\"'](asked|acted)[\"']",
        ("src/backstay/watch/notify", "docs", "packaging"),
    ),
    "standings": (
        r"\b[Ss]tandings?\b(?! by)",
        ("src/backstay/watch", "docs/watch-page.md", "packaging", "tests/watch"),
    ),
    "mood": (r"\bmoods?\b", WHOLE),
    "sentence": (r"[\"']sentence[\"']|\.sentence\b|\bsentence:", WHOLE),
    "told_at": (r"\btold_at\b|[\"'](told|happened)[\"']\s*[:\]]|\.happened\b", WHOLE),
    "brakes": (r"\b[Bb]rakes?\b|\bheld[_-]back\b", WHOLE),
    "--vouch": (r"--vouch\b|\bvouch(ed|es|ing)?\b", WHOLE),
    "--despite": (r"--despite\b|\bdespite_?gates?\b", WHOLE),
    "oddities": (r"\b[Oo]ddit(y|ies)\b", WHOLE),
    # names of classes and modules
    "Courier": (r"\b_?[Cc]ouriers?\b", WHOLE),
    "Ledger": (r"\b_?[Ll]edgers?\b", WHOLE),
    "Dossier": (r"\b_?[Dd]ossiers?\b", WHOLE),
    "Sign": (r"\bclass Sign\b|\bSign\(|\bimport Sign\b|: Sign\b|-> Sign\b", CODE),
    "Look, Track": (r"\bclass (Look|Track|Tracking)\b|\bimport (Look|Track|Tracking)\b", CODE),
    "Bulletin": (r"\b[Bb]ulletins?\b", WHOLE),
    "Board": (r"\bclass (Board|Begun|Means)\b", ("src/backstay/watch", "tests/watch")),
    "Begun": (r"\bBegun\b|\bMeans\b(?=[(\].])", CODE),
    "Scene": (r"\b[Ss]cenes?\b", WHOLE),
    "Piece": (r"\bclass (Found|Piece)\b|\bwording\b", ("src/backstay/watch", "tests/watch")),
    "Kept": (r"\bclass Kept\b|\bkept\.py\b|services/kept|page/kept", WHOLE),
    "Pulse": (r"\b(Api|Host)Pulse\b|\b[Pp]ulses?\b", WHOLE),
    "Wiring": (r"\bWiring\b|\bWires\b|\.addressed\b|\baddressed[=:]", WHOLE),
    "Site": (r"\bSite\b(?=[(\].:,]|$)|\bimport Site\b|\bclass Site\b", CODE),
    "Fenced": (r"\bclass Fenced\b", ("src/backstay/journal", "tests/journal")),
    "Trial": (r"\bTrials?\b|\bNotMade\b", CODE),
    "MayNot": (r"\bMayNot\b|\bUnfinished\b", CODE),
    # texts
    "cut off": (r"\bonly we are cut off\b", WHOLE),
    "takes no work": (r"\btak(e|es|ing) no work\b", WHOLE),
    "fed and served": (r"\bfed and served\b|\bnobody takes from its queue\b", WHOLE),
    "is the matter": (r"\bis the matter\b|\bnobody is told\b", WHOLE),
    "run run": (
        r"\bmust run run\b|\bolder ones are as they were\b|\bfor good\. Type its name\b",
        WHOLE,
    ),
    "mend": (r"\b[Mm]end(s|ed|ing)?\b", WHOLE),
    "gone on with": (r"\b(gone|go|goes|going) on with\b", WHOLE),
    "for ever": (r"\bfor ever\b|\bin vain\b|\blaid to\b|\bnot to be had\b", WHOLE),
    "begun": (r"\bbegun\b", WHOLE),
}


def found(pattern: str, places: tuple[str, ...]) -> list[str]:
    """Return the lines of the project's files that match, without the exceptions."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *places],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    matches = re.compile(pattern)
    lines = []
    for name in listed:
        path = TOP / name
        if name.startswith(tuple(EXCEPTIONS)) or not path.is_file():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        lines += [
            f"{name}:{number}: {line.strip()[:150]}"
            for number, line in enumerate(text.splitlines(), 1)
            if matches.search(line)
        ]
    return lines


def test_a_search_finds_what_is_there():
    assert len(found(r"^def test_backstay_never_imports_the_lab\b", CODE)) == 1
    assert found(r"\btellings\b", ("tests/fixtures",)) == []  # one of the exceptions


@pytest.mark.parametrize("word", WORDS)
def test_the_old_word_is_gone(word):
    lines = found(*WORDS[word])
    assert not lines, "\n".join([f"{len(lines)} lines", *lines])
