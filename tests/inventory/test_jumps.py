"""Bastions in cloud.yaml: what is taken for one, and which hosts have which."""

from pathlib import Path

import pytest

from backstay.inventory.load import load
from backstay.inventory.mistakes import CloudFileWrong

CLOUD = """
credentials: {openrc: openrc}
ssh: {user: ops, jumps: %s}
hosts:
  bastion: {address: 192.0.2.5, roles: [network], ssh: {jumps: none}}
  compute1: {address: 192.0.2.21, roles: [compute]}
  compute2: {address: 192.0.2.22, roles: [compute], ssh: {jumps: 'me@b2:2022'}}
"""


def written(folder: Path, jumps: str) -> Path:
    file = folder / "cloud.yaml"
    file.write_text(CLOUD % jumps)
    return file


def test_a_host_s_own_are_over_the_cloud_s(tmp_path: Path) -> None:
    cloud = load(written(tmp_path, "ops@bastion.example"))
    found = {name: cloud.ssh_target(host).jumps for name, host in cloud.hosts.items()}
    assert found == {"bastion": "none", "compute1": "ops@bastion.example", "compute2": "me@b2:2022"}


@pytest.mark.parametrize(
    "jumps", ["b", "b:22", "ops@b", "'a,ops@[2001:db8::5]:22'", "10.0.0.5", "user@ad@b"]
)
def test_what_ssh_takes_is_taken(tmp_path: Path, jumps: str) -> None:
    assert load(written(tmp_path, jumps))


@pytest.mark.parametrize(
    "jumps", ["-oProxyCommand=x", "'b c'", "'a,,b'", "'$(id)@b'", "'b:port'", "'ops@-b'", "''"]
)
def test_anything_else_is_a_mistake_with_its_line(tmp_path: Path, jumps: str) -> None:
    with pytest.raises(CloudFileWrong) as caught:
        load(written(tmp_path, jumps))
    assert "USER" in str(caught.value)
