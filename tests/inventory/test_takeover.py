"""cloud.yaml after a replacement: what a person wrote stays, what has changed is right."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from backstay.errors import InventoryError
from backstay.inventory.load import load
from backstay.inventory.takeover import masked, take_over

SINCE = datetime(2026, 11, 24, 22, 0, 0, tzinfo=UTC)
LAB = (Path(__file__).parent / "data" / "lab-cloud.yaml").read_text()

WRITTEN = """\
# The cloud of the second floor. Ask Ann before changing it.
name: floor2
credentials: {clouds: floor2}

hosts:
    # behind the red door
    ctl:                       # old, to be replaced in spring
        address: 10.0.0.5
        roles:
          - controller
        bmc:
            url: https://10.0.9.5   # port 7 of the management switch
            username: root
            password: 'hunter2'
        without: [cinder]
    sp-a:
        address: 10.0.0.8
        roles: [spare]
        spare_for: [ctl]
        bmc:
            url: https://10.0.9.8   # port 8
            username: root
            password: {value: correct-horse}
        # its left power supply is broken
    # two more are ordered

# nobody works then
windows:
    nightly: {start: '02:00', duration: 2h}
"""


def loaded(text: str, folder: Path) -> object:
    path = folder / "cloud.yaml"
    path.write_text(text)
    return load(path)


def test_a_lab_s_controller(tmp_path: Path) -> None:
    taken = take_over(LAB, host="controller", spare="spare1", since=SINCE)
    before = YAML(typ="safe").load(LAB)
    now = YAML(typ="safe").load(taken.text)
    loaded(taken.text, tmp_path)
    assert "spare1" not in now["hosts"]
    assert now["hosts"]["controller"]["address"] == "10.77.0.11"
    assert now["hosts"]["controller"]["bmc"] == before["hosts"]["spare1"]["bmc"]
    assert now["fenced"] == {
        "controller-old": {
            "was": "controller",
            "since": "2026-11-24T22:00:00Z",
            "bmc": before["hosts"]["controller"]["bmc"],
        }
    }
    gone = [line for line in LAB.splitlines() if line not in taken.text.splitlines()]
    assert len(gone) == 4  # the spare's, less its BMC; the other one is under `fenced`
    for host in ("controller", "spare1"):
        assert before["hosts"][host]["bmc"]["password"] not in taken.diff
    assert "-  spare1:" in taken.diff
    assert "+  controller-old:" in taken.diff
    assert taken.still == ()


def test_one_after_the_other(tmp_path: Path) -> None:
    text = LAB + "  spare2:\n    address: 10.77.0.32\n    roles: [spare]\n"
    first = take_over(text, host="controller", spare="spare1", since=SINCE)
    second = take_over(first.text, host="controller", spare="spare2", since=SINCE)
    loaded(second.text, tmp_path)
    now = YAML(typ="safe").load(second.text)
    assert list(now["fenced"]) == ["controller-old", "controller-old-2"]
    assert now["fenced"]["controller-old-2"]["bmc"]["url"] == "https://10.77.0.131:8443"
    # The spare had no BMC: the old one's would switch on a machine that must stay off.
    assert "bmc" not in now["hosts"]["controller"]
    other = take_over(first.text, host="proxy", spare="spare2", since=SINCE)
    assert list(YAML(typ="safe").load(other.text)["fenced"]) == ["controller-old", "proxy-old"]


def test_what_a_person_wrote_stays(tmp_path: Path) -> None:
    taken = take_over(WRITTEN, host="ctl", spare="sp-a", since=SINCE)
    loaded(taken.text, tmp_path)
    assert (
        taken.text
        == """\
# The cloud of the second floor. Ask Ann before changing it.
name: floor2
credentials: {clouds: floor2}

hosts:
    # behind the red door
    ctl:                       # old, to be replaced in spring
        address: 10.0.0.5
        roles:
          - controller
        bmc:
          url: https://10.0.9.8   # port 8
          username: root
          password: {value: correct-horse}
        without: [cinder]
    # two more are ordered
fenced:
  ctl-old:
    was: ctl
    since: '2026-11-24T22:00:00Z'
    bmc:
      url: https://10.0.9.5   # port 7 of the management switch
      username: root
      password: 'hunter2'

# nobody works then
windows:
    nightly: {start: '02:00', duration: 2h}
"""
    )
    assert "hunter2" not in taken.diff
    assert "correct-horse" not in taken.diff
    assert "password: …" in taken.diff


def test_without_bmcs_and_without_a_last_line_end(tmp_path: Path) -> None:
    text = "credentials: {clouds: a}\nhosts:\n  s: {address: 10.0.0.2, roles: [spare]}\n"
    text += "  c: {address: 10.0.0.1, roles: [controller]}"
    taken = take_over(text, host="c", spare="s", since=SINCE)
    loaded(taken.text, tmp_path)
    assert taken.text == (
        "credentials: {clouds: a}\nhosts:\n  c: {address: 10.0.0.1, roles: [controller]}\n"
        "fenced:\n  c-old:\n    was: c\n    since: '2026-11-24T22:00:00Z'\n"
    )


def test_all_in_braces(tmp_path: Path) -> None:
    text = (
        "{credentials: {clouds: a}, hosts: {s: {address: 10.0.0.2, roles: [spare], "
        "bmc: {url: 'https://10.0.0.3', username: a, password: b}}, "
        "c: {address: 10.0.0.1, roles: [controller]}}}\n"
    )
    taken = take_over(text, host="c", spare="s", since=SINCE)
    loaded(taken.text, tmp_path)
    now = YAML(typ="safe").load(taken.text)
    assert now["hosts"]["c"]["bmc"]["url"] == "https://10.0.0.3"
    assert now["fenced"]["c-old"]["was"] == "c"


def test_common_parts_by_an_anchor_go_along(tmp_path: Path) -> None:
    text = (
        "credentials: {clouds: a}\nhosts:\n"
        "  w: {address: 10.0.0.9, roles: [compute], bmc: &b {url: 'https://10.0.0.29', "
        "username: u, password: p}}\n"
        "  c: {address: 10.0.0.1, roles: [controller], bmc: {<<: *b, url: 'https://10.0.0.21'}}\n"
        "  s: {address: 10.0.0.2, roles: [spare], bmc: {<<: *b, url: 'https://10.0.0.22'}}\n"
    )
    taken = take_over(text, host="c", spare="s", since=SINCE)
    loaded(taken.text, tmp_path)
    now = YAML(typ="safe").load(taken.text)
    assert now["hosts"]["c"]["bmc"]["url"] == "https://10.0.0.22"
    assert now["fenced"]["c-old"]["bmc"]["password"] == "p"
    # What goes with the spare and is used elsewhere cannot go: told, not guessed.
    moved = text.replace("roles: [spare]", "roles: [spare], ssh: &s {user: me}")
    moved += "  x: {address: 10.0.0.7, roles: [compute], ssh: *s}\n"
    with pytest.raises(InventoryError) as told:
        take_over(moved, host="c", spare="s", since=SINCE)
    assert "edited safely" in told.value.came_back
    assert "by hand" in told.value.remedy


def test_other_places_that_name_the_spare(tmp_path: Path) -> None:
    text = LAB.replace("provision:\n", "provision:\n  spare1: {command: {run: /bin/true}}\n") + (
        "  spare2:\n    address: 10.77.0.32\n    roles: [spare]\n"
        "    spare_for: [controller, spare1]\n"
    )
    taken = take_over(text, host="proxy", spare="spare1", since=SINCE)
    now = YAML(typ="safe").load(taken.text)
    assert now["hosts"]["spare2"]["spare_for"] == ["controller"]
    [still] = taken.still
    assert "spare1" in taken.text.splitlines()[int(still.removeprefix("line ")) - 1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LAB.replace("  spare1:", "  spare9:"), "no host spare1"),
        ("hosts: [a", "not YAML"),
        ("name: x\n", "no `hosts`"),
    ],
)
def test_what_cannot_be_changed_is_told(text: str, told: str) -> None:
    with pytest.raises(InventoryError) as error:
        take_over(text, host="controller", spare="spare1", since=SINCE)
    assert told in error.value.came_back
    assert "under `fenced`" in error.value.remedy


def test_secrets_are_masked() -> None:
    text = masked(
        "a: {password: x1, token: 'x2', username: u}\nb:\n  db_password: {file: f}\n"
        "  hook: https://me:x3@h/p?sig=x4&n=5\n  secrets: [x5]\n  passphrase: {value: x6}\n"
    )
    assert not any(f"x{number}" in text for number in range(1, 7))
    assert "username: u" in text
    assert "{file: f}" in text


def test_secrets_of_other_names_are_masked_too() -> None:
    text = masked(
        "watch: {channels: {c: {apprise: {url: 'slack://X1/X2'}},\n"
        "  d: {webhook: {url: 'https://X3@h'}}}}\n"
        "provision: {default: {command: {environment: {API_KEY: X4, LIST: {value: X5}}}}}\n"
        "hooks: ['https://hooks.slack.com/services/T0/X6', 'https://u:X/7@h/']\n"
    )
    assert "X" not in text
    assert "https://hooks.slack.com" in text
