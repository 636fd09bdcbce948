"""A site that builds its hosts with Ansible: its own inventory and playbook make the lost proxy."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.background_load import again_and_again
from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import cloud_with, last_run, result
from tests.acceptance.replacements import as_built, is_taken_over, replace, resume
from tests.acceptance.test_backup import create
from tests.acceptance.test_clients import objects_have_their_digests

pytestmark = pytest.mark.lab

HOST, SPARE = "proxy", "spare1"
PLAYBOOK = Path(__file__).with_name("data") / "proxy.yml"
WAITS = "TASK [Wait until somebody has seen how far it is]"


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    ssh = lab.cloud_file.parent / "ssh"
    (tmp_path / "hosts.ini").write_text(
        f"[proxies]\n{HOST} ansible_host={lab.hosts[HOST]['address']} ansible_user=root "
        f"ansible_ssh_private_key_file={ssh}/id_ed25519 "
        f"ansible_ssh_common_args='-o UserKnownHostsFile={ssh}/known_hosts'\n"
    )
    settings = f"""
        backup: {{folder: {tmp_path}/backups}}
        provision:
          storage-proxy:
            ansible:
              playbook: {PLAYBOOK}
              inventory: {tmp_path}/hosts.ini
              extra: {{site: story}}
              skip: [users]
    """
    with cloud_with(lab, settings) as file:
        create(lab, file, HOST, "--verify")
        lab.backstay("lab", "break", "dead-board", HOST)
        yield file
    for copy in lab.cloud_file.parent.glob("story.yaml.before-*"):
        copy.unlink()
    as_built(lab)


def _said(lab: Lab) -> str:
    """What the newest run has told of its progress until now."""
    return "\n".join(
        event["text"] for event in last_run(lab)["events"] if event["kind"] == "progress"
    )


def _let_go_on_once_it_is_told(lab: Lab) -> None:
    if WAITS in _said(lab):
        lab.shell(SPARE, "touch /etc/seen")


@pytest.mark.slow
def test_its_failure_is_told_and_it_is_begun_again(lab: Lab, cloud: Path) -> None:
    failed = replace(lab, cloud, HOST, ok=False)
    print(failed.stdout, failed.stderr)
    assert failed.returncode == 2
    assert "running ansible-playbook on this machine: it ended with 2: fatal: [proxy]:" in (
        failed.stdout
    )
    log = re.search(r"read (\S+\.log)", failed.stdout)
    assert log is not None
    assert "TASK [Check that the site is repaired]" in Path(log[1]).read_text()

    lab.shell(SPARE, "touch /etc/repaired")
    with again_and_again(lambda: _let_go_on_once_it_is_told(lab), 0.5):
        done = resume(lab, cloud)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert WAITS in _said(lab)
    assert "failed=0" in result(last_run(lab), f"{HOST}.build")["summary"]
    assert lab.shell(SPARE, "cat /etc/built-by-ansible").split() == ["story", HOST]
    is_taken_over(cloud, HOST)
    objects_have_their_digests(lab)
