"""openrc by a real shell, clouds.yaml, and the environment."""

import os
import shutil
import time
from pathlib import Path

import pytest

from backstay.errors import InventoryError
from backstay.inventory.account import Credentials
from backstay.inventory.client_rules import completed
from backstay.inventory.clouds_yaml import read_clouds_yaml
from backstay.inventory.credentials import variables
from backstay.inventory.openrc import read_openrc


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
        "export OS_AUTH_URL=u OS_USERNAME=a\necho 'Please enter your password: '\n"
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
    path = openrc(tmp_path, "sleep 61 &\nexport OS_AUTH_URL=u OS_PASSWORD=x\n")
    started = time.monotonic()
    assert read_openrc(path) == {"OS_AUTH_URL": "u", "OS_PASSWORD": "x"}
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


WHOLE = "export OS_AUTH_URL=http://h/v3 OS_PASSWORD=x\n"


def test_the_shell_of_the_first_line_runs_an_openrc(tmp_path):
    (tmp_path / "secret").write_text("from a file\n")
    bash = "#!/usr/bin/env bash\n" + WHOLE + "export OS_PASSWORD=$(< secret)\nsource ./more\n"
    (tmp_path / "more").write_text("[[ -n $OS_PASSWORD ]] && export OS_REGION_NAME=R2\n")
    found = read_openrc(openrc(tmp_path, bash))
    assert (found["OS_PASSWORD"], found["OS_REGION_NAME"]) == ("from a file", "R2")
    says = "echo $0 >&2; case ${BASH_VERSION:-no} in no) export OS_USERNAME=sh;; esac\n"
    assert read_openrc(openrc(tmp_path, "#!/bin/sh\n" + WHOLE))["OS_PASSWORD"] == "x"
    assert "OS_USERNAME" not in read_openrc(openrc(tmp_path, WHOLE + says)), "bash, if it is there"
    for first, said in (
        ("#!/usr/bin/python3\n", "names `/usr/bin/python3`, which is no shell"),
        ("#!/opt/none/zsh9\n", "is no shell"),
    ):
        with pytest.raises(InventoryError, match=said):
            read_openrc(openrc(tmp_path, first + WHOLE))
    if shutil.which("ksh") is None:
        with pytest.raises(InventoryError, match="not on this machine"):
            read_openrc(openrc(tmp_path, "#!/bin/ksh\n" + WHOLE))


@pytest.mark.parametrize(
    "last", ["[ -f ./not-here ] && . ./not-here\n", "false\n", "return 3\n", ". ./not-here\n"]
)
def test_an_openrc_is_judged_by_what_it_exports(tmp_path, last):
    assert read_openrc(openrc(tmp_path, WHOLE + last))["OS_PASSWORD"] == "x"
    with pytest.raises(InventoryError, match="exports no OS_"):
        read_openrc(openrc(tmp_path, last))


def test_an_openrc_finds_what_lies_beside_it(tmp_path):
    (tmp_path / "rest").write_text(WHOLE)
    text = '#!/bin/bash\nhere=$(cd "$(dirname "${BASH_SOURCE:-$0}")" && pwd)\n. "$here/rest"\n'
    assert read_openrc(openrc(tmp_path, text))["OS_PASSWORD"] == "x"


def test_lines_of_windows_are_named(tmp_path):
    with pytest.raises(InventoryError, match="CR LF") as caught:
        read_openrc(openrc(tmp_path, WHOLE.replace("\n", "\r\n")))
    assert caught.value.remedy.startswith("sed -i")


def test_proxies_of_an_openrc_count(tmp_path):
    path = openrc(tmp_path, WHOLE + "export https_proxy=http://p:3128 NO_PROXY=10.0.0.0/8\n")
    found = read_openrc(path)
    assert (found["https_proxy"], found["NO_PROXY"]) == ("http://p:3128", "10.0.0.0/8")


DOMAINS = "export OS_USERNAME=a OS_PROJECT_NAME=p OS_IDENTITY_API_VERSION=3\n"


def test_files_are_beside_the_file_that_names_them(tmp_path):
    text = WHOLE + DOMAINS + "export OS_CACERT=ca.pem OS_CERT=~/c.pem\n"
    found = variables(Credentials(openrc=openrc(tmp_path, text)))
    assert found["OS_CACERT"] == str(tmp_path / "ca.pem")
    (tmp_path / "clouds.yaml").write_text(CLOUDS.replace("/etc/ca.pem", "tls/ca.pem"))
    found = read_clouds_yaml("prod", tmp_path / "clouds.yaml")
    assert found["OS_CACERT"] == str(tmp_path / "tls" / "ca.pem")


@pytest.mark.parametrize(
    ("text", "insecure"),
    [("OS_INSECURE=True", True), ("OS_INSECURE=false", False), ("OS_INSECURE=0", False)],
)
def test_certificates_are_not_checked_only_where_the_client_would_not(tmp_path, text, insecure):
    path = openrc(tmp_path, f"{WHOLE}{DOMAINS}export {text}\n")
    assert ("OS_INSECURE" in variables(Credentials(openrc=path))) is insecure
    with pytest.raises(InventoryError, match="takes only `true`"):
        variables(Credentials(openrc=openrc(tmp_path, f"{WHOLE}export OS_INSECURE=1\n")))


def test_a_bash_openrc_that_is_broken_shows_what_bash_says(tmp_path):
    with pytest.raises(InventoryError, match=r"line \d+: (Syntax error|unexpected EOF|an error)"):
        read_openrc(openrc(tmp_path, "#!/bin/bash\nif (( 1 )) then (\n"))
    with pytest.raises(InventoryError, match="line 2: not found"):
        read_openrc(openrc(tmp_path, "#!/bin/bash\nno-such-program\n"))
    with pytest.raises(InventoryError, match="exports no OS_"):
        read_openrc(openrc(tmp_path, "true\n"))
    with pytest.raises(InventoryError, match="no such file"):
        read_openrc(tmp_path / "absent")


CLOUDS = """
clouds:
  prod:
    auth: {auth_url: http://h/v3, username: admin, project_name: ops, user_domain_name: Default,
           project_domain_name: Default}
    region_name: R1
    cacert: /etc/ca.pem
    verify: false
  provider: {profile: rackspace, auth: {username: x}}
"""


@pytest.mark.parametrize("value", ["~\\0x", "a\\0b"])
def test_a_null_byte_in_clouds_yaml_is_refused_by_its_name(tmp_path, value):
    text = CLOUDS.replace("/etc/ca.pem", f'"{value}"')
    (tmp_path / "clouds.yaml").write_text(text)
    found = read_clouds_yaml("prod", tmp_path / "clouds.yaml")
    with pytest.raises(InventoryError, match="OS_CACERT holds a null byte"):
        completed(found, "reading clouds.yaml", tmp_path)


def test_clouds_yaml_with_its_secrets_beside_it(tmp_path, monkeypatch):
    (tmp_path / "clouds.yaml").write_text(CLOUDS)
    (tmp_path / "secure.yaml").write_text("clouds: {prod: {auth: {password: pw}}}\n")
    expected = {
        "OS_AUTH_URL": "http://h/v3",
        "OS_USERNAME": "admin",
        "OS_PROJECT_NAME": "ops",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_AUTH_TYPE": "password",
        "OS_PASSWORD": "pw",
        "OS_REGION_NAME": "R1",
        "OS_CACERT": "/etc/ca.pem",
        "OS_INSECURE": "true",
    }
    given = Credentials(clouds="prod", file=tmp_path / "clouds.yaml")
    assert variables(given) == expected
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    assert variables(Credentials(clouds="prod")) == expected
    monkeypatch.setenv("OS_CLOUD", "prod")
    assert variables(Credentials(environment=True)) == expected
    monkeypatch.setenv("OS_PASSWORD", "typed")
    assert variables(Credentials(environment=True))["OS_PASSWORD"] == "typed"


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
