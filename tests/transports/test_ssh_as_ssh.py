"""What ``ssh HOST true`` does, Backstay does, or says in words what it does not.

Each file in ``ssh_cases`` is one machine's ~/.ssh and /etc/ssh. OpenSSH's own servers and its
``ssh`` are the reference, and Backstay is asked twice: with the home that the passwd file has, and
with another one in ``HOME``.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).with_name("ssh_cases")
SSHD = os.environ.get("BACKSTAY_SSHD") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
NEEDED = all(shutil.which(name) for name in ("ssh", "ssh-agent", "unshare", "ip", "mount"))

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or SSHD is None or not NEEDED,
    reason="needs root, and openssh-server (or its sshd in BACKSTAY_SSHD)",
)


@pytest.fixture(scope="module")
def tried() -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [
            *("unshare", "--mount", "--net", "--propagation", "private"),
            *(sys.executable, "-m", "tests.transports.ssh_servers", str(SSHD), str(CASES)),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}


def kind(one: dict[str, Any]) -> str:
    """Return whether Backstay did the same, said in words that it does not, or did otherwise."""
    if one["found"] == one["reference"]:
        return "same"
    return "in words" if one["words"] else "different"


def test_the_cases_are_what_they_say_with_ssh_itself(tried):
    assert len(tried) == len(list(CASES.glob("*.case")))
    assert {name: one["reference"] for name, one in tried.items()} == {
        name: one["outcome"] for name, one in tried.items()
    }


def test_backstay_does_the_same_or_says_what_it_does_not(tried):
    others = {
        name: (one["reference"], one["found"], one["error"])
        for name, one in tried.items()
        if kind(one) == "different"
    }
    assert others == {}
    counted = Counter(kind(one) for one in tried.values())
    assert counted == {"same": 136, "in words": 8}


def test_what_it_does_not_follow_is_named(tried):
    silent = {
        name: one["error"] + one["remedy"]
        for name, one in tried.items()
        if one["words"] and not any(word in one["error"] + one["remedy"] for word in words(one))
    }
    assert silent == {}


def words(one: dict[str, Any]) -> list[str]:
    return str(one["words"]).replace("{home}", "/srv/root").split("|")


def test_another_home_changes_nothing(tried):
    # This one's ProxyCommand is an `ssh`, which does not look at HOME.
    differ = {name for name, one in tried.items() if one["elsewhere"] != one["found"]}
    assert differ == {"proxy-command"}


def test_every_error_has_a_remedy_and_a_first_contact_shows_the_key(tried):
    for one in tried.values():
        if one["error"]:
            assert one["remedy"], one
            assert "error in Backstay itself" not in one["error"], one
        if one["found"] in {"unknown", "changed"} and one["name"] != "no-files-at-all":
            assert "it presents " in one["error"], one
            assert "SHA256:" in one["error"].partition("it presents ")[2], one
        if one["found"] == "changed":
            assert "may be an attack" in one["error"]


def test_the_remedies_for_host_keys_work_when_they_are_pasted(tried):
    after = {name: one["after"] for name, one in tried.items() if one["after"]}
    assert len(after) == 14
    assert {name: came for name, came in after.items() if " as " not in came} == {}
