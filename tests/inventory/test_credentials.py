"""openrc by a real shell, clouds.yaml, and the environment."""

import os
import time
from pathlib import Path

import pytest

from backstay.errors import InventoryError
from backstay.inventory.account import Credentials
from backstay.inventory.credentials import read_clouds_yaml, read_openrc, variables


@pytest.fixture(autouse=True)
def _no_credentials_of_the_operator(monkeypatch):
    for name in list(os.environ):
        if name.startswith("OS_"):
            monkeypatch.delenv(name)


def openrc(folder: Path, text: str) -> Path:
    path = folder / "open rc"
    path.write_text(text)
    return path


def test_an_openrc_is_run_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setenv("OS_TOKEN", "the operator's own")
    path = openrc(
        tmp_path,
        "host=10.0.0.5\nexport OS_AUTH_URL=http://$host:5000/v3\necho hello\n"
        "OS_PASSWORD='two\nlines =$x'; export OS_PASSWORD\nexport OTHER=1\nunset OS_TOKEN\n",
    )
    assert read_openrc(path) == {
        "OS_AUTH_URL": "http://10.0.0.5:5000/v3",
        "OS_PASSWORD": "two\nlines =$x",
    }


def test_an_openrc_that_asks_for_the_password(tmp_path, monkeypatch):
    path = openrc(
        tmp_path,
        "export OS_USERNAME=a\necho 'Please enter your password: '\n"
        "read -r OS_PASSWORD_INPUT\nexport OS_PASSWORD=$OS_PASSWORD_INPUT\n",
    )
    with pytest.raises(InventoryError) as caught:
        read_openrc(path)
    assert "sets no OS_PASSWORD" in caught.value.came_back
    monkeypatch.setenv("OS_PASSWORD", "typed elsewhere")
    assert read_openrc(path)["OS_PASSWORD"] == "typed elsewhere"


def ended(stat: Path) -> bool:
    """Wait until the process is gone or a zombie: SIGKILL takes a moment."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            if stat.read_text().split()[2] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_an_openrc_that_hangs_is_killed_with_all_that_it_started(tmp_path):
    path = openrc(tmp_path, f"sleep 61 & echo $! > '{tmp_path}/pid'; wait\n")
    started = time.monotonic()
    with pytest.raises(InventoryError, match=r"did not end within 0\.3 s"):
        read_openrc(path, bound=0.3)
    assert time.monotonic() - started < 3
    stat = Path(f"/proc/{int((tmp_path / 'pid').read_text())}/stat")
    assert ended(stat)


def test_what_an_openrc_leaves_in_the_background_is_not_waited_for(tmp_path):
    path = openrc(tmp_path, "sleep 61 &\nexport OS_PASSWORD=x\n")
    started = time.monotonic()
    assert read_openrc(path) == {"OS_PASSWORD": "x"}
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "text",
    [
        "export OS_PASSWORD=abc 2hunter\n",
        "export OS_PASSWORD=abc&2hunter\nfalse\n",
        "export OS_PASSWORD=abc`2hunter`\nfalse\n",
        "set -u\nexport OS_PASSWORD=abc$hunter2\n",
        "set -x\nexport OS_PASSWORD=hunter2\nfalse\n",
        "export OS_PASSWORD=abc${hunter2%\n",
        "export OS_PASSWORD='hunter2\n",
        "hunter2=1; . /hunter2\n",
    ],
)
def test_what_a_shell_complains_of_is_not_repeated(tmp_path, text):
    with pytest.raises(InventoryError) as caught:
        read_openrc(openrc(tmp_path, text))
    assert "hunter" not in f"{caught.value} {caught.value.remedy}"
    with pytest.raises(InventoryError, match="status 3: no VPN"):
        read_openrc(openrc(tmp_path, "echo no VPN >&2; exit 3\n"))


def test_a_bash_openrc_says_that_sh_runs_it(tmp_path):
    with pytest.raises(InventoryError, match="status") as caught:
        read_openrc(openrc(tmp_path, "if (( 1 )) then (\n"))
    assert "POSIX" in caught.value.remedy
    with pytest.raises(InventoryError, match="exports no OS_"):
        read_openrc(openrc(tmp_path, "true\n"))
    with pytest.raises(InventoryError, match="no such file"):
        read_openrc(tmp_path / "absent")


CLOUDS = """
clouds:
  prod:
    auth: {auth_url: http://h/v3, username: admin, project_name: ops, user_domain_name: Default}
    region_name: R1
    cacert: /etc/ca.pem
    verify: false
  provider: {profile: rackspace, auth: {username: x}}
"""


def test_clouds_yaml_with_its_secrets_beside_it(tmp_path, monkeypatch):
    (tmp_path / "clouds.yaml").write_text(CLOUDS)
    (tmp_path / "secure.yaml").write_text("clouds: {prod: {auth: {password: pw}}}\n")
    expected = {
        "OS_AUTH_URL": "http://h/v3",
        "OS_USERNAME": "admin",
        "OS_PROJECT_NAME": "ops",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PASSWORD": "pw",
        "OS_REGION_NAME": "R1",
        "OS_CACERT": "/etc/ca.pem",
        "OS_INSECURE": "true",
    }
    assert read_clouds_yaml("prod", tmp_path / "clouds.yaml") == expected
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    assert variables(Credentials(clouds="prod")) == expected
    monkeypatch.setenv("OS_CLOUD", "prod")
    assert variables(Credentials(environment=True)) == expected


def test_clouds_yaml_that_does_not_do(tmp_path, monkeypatch):
    path = tmp_path / "clouds.yaml"
    path.write_text(CLOUDS)
    with pytest.raises(InventoryError, match="did you mean `prod`"):
        read_clouds_yaml("prdo", path)
    with pytest.raises(InventoryError, match="profile"):
        read_clouds_yaml("provider", path)
    monkeypatch.chdir(tmp_path / "..")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InventoryError, match="OS_AUTH_URL is not set"):
        variables(Credentials(environment=True))
