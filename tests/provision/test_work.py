"""What is run to build a host, by what cloud.yaml says."""

import json
import subprocess
from pathlib import Path

import pytest

from backstay.errors import InventoryError
from backstay.inventory.cloud import Cloud
from backstay.inventory.load import load
from backstay.provision.methods import _PUPPET_ERROR, method_of
from backstay.provision.work import Work, last_errors, last_line

HEAD = "credentials: {environment: true}\nhosts:\n  c: {address: 10.0.0.1, roles: [controller]}\n"


def cloud(folder: Path, provision: str) -> Cloud:
    path = folder / "cloud.yaml"
    path.write_text(f"{HEAD}provision:\n{provision}\n")
    return load(path)


def work(folder: Path, provision: str) -> Work:
    read = cloud(folder, provision)
    means = read.provision_of(read.hosts["c"])
    assert means
    return method_of(means).work("c", "10.0.0.1")


def test_puppet_applies_the_manifest_and_leaves_out_what_the_database_has(tmp_path):
    made = work(
        tmp_path,
        "  controller: {puppet: {manifest: /etc/p/c.pp, modulepath: [/etc/p/m, /usr/share/m],"
        " hiera: /etc/p/h.yaml, environment: {FACTER_role: it's c}, skip: [keystone_user, x]}}",
    )
    first, held, last = made.script.splitlines()
    assert first == "export FACTER_role='it'\"'\"'s c'"
    assert "prerun_command" in held
    assert last == (
        "exec puppet apply --detailed-exitcodes --color=false --hiera_config=/etc/p/h.yaml "
        '--modulepath=/etc/p/m:/usr/share/m --skip_tags=keystone_user,x /etc/p/c.pp "$@"'
    )
    assert made.good == {0, 2}
    assert not made.here


@pytest.mark.parametrize("option", ["", "--prerun_command=/bin/own"])
def test_puppet_is_held_before_its_first_change_by_the_site_s_own_command_or_ours(
    tmp_path, monkeypatch, option
):
    """A stand-in for puppet tells its options, and when it came to its first change."""
    puppet = tmp_path / "puppet"
    puppet.write_text('#!/bin/sh\necho "$@"\n')
    puppet.chmod(0o755)
    (tmp_path / "await").write_text("echo held\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("BACKSTAY_AWAIT", str(tmp_path / "await"))
    options = f", options: ['{option}']" if option else ""
    made = work(tmp_path, f"  c: {{puppet: {{manifest: /etc/p/c.pp{options}}}}}")
    assert made.waits
    done = subprocess.run(["sh", "-c", made.script], capture_output=True, text=True, check=True)
    told = done.stdout.splitlines()
    if option:  # its place is taken: Puppet itself is started later
        assert told[0] == "held"
        assert told[1].endswith(f"{option} /etc/p/c.pp")
    else:
        assert told[0].endswith(f"/etc/p/c.pp --prerun_command=/bin/sh {tmp_path}/await")


def test_ansible_runs_here_for_that_host_alone(tmp_path):
    made = work(tmp_path, "  default: {ansible: {playbook: site.yml, inventory: hosts.ini}}")
    assert made.here
    assert f"--limit c --inventory {tmp_path}/hosts.ini {tmp_path}/site.yml" in made.script
    assert f"cd {tmp_path}" in made.script


def test_ansible_s_variables_are_in_no_process_list(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ansible-playbook").write_text(
        '#!/bin/sh\ntr "\\0" " " </proc/$$/cmdline; echo; for last; do :; done\n'
        'cat "${last#@}"; echo; stat -c %a "${last#@}"; umask\n'
    )
    (programs / "ansible-playbook").chmod(0o755)
    extra = "{site: it's one, password: hunter2}"
    made = work(tmp_path, f"  default: {{ansible: {{playbook: site.yml, extra: {extra}}}}}")
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "BACKSTAY_AWAIT": f"{tmp_path}/await"}
    run = ["sh", "-c", f"umask 022; {made.script}"]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    words, content, mode, mask = done.stdout.splitlines()
    assert words.endswith(f"{tmp_path}/site.yml --extra-vars @{tmp_path}/extra-vars.json ")
    assert json.loads(content) == {"site": "it's one", "password": "hunter2"}
    assert (mode, mask) == ("600", "0022")


def test_a_host_s_own_means_come_before_its_role_s_and_the_default(tmp_path):
    both = "  controller: {command: {argv: [role]}}\n  c: {command: {argv: [own], on: here}}"
    assert "exec own" in work(tmp_path, both).script


def test_any_command_knows_for_which_host_it_is(tmp_path):
    made = work(tmp_path, "  c: {command: {argv: [sh, -c, 'echo $BACKSTAY_HOST'], good: [3]}}")
    done = subprocess.run(["sh", "-c", made.script], capture_output=True, text=True, check=True)
    assert done.stdout == "c\n"
    assert made.good == {3}


@pytest.mark.parametrize(
    ("given", "secrets"),
    [
        ("argv: [b, --db-password, hunter22, --role, proxy]", {"hunter22"}),
        ("argv: [b, --password=hunter22, 'admin_token=abcdef']", {"hunter22", "abcdef"}),
        ("argv: [b], environment: {DB_PASSWORD: hunter22, ROLE: proxy}", {"hunter22"}),
        ("argv: [b, '--db=mysql://nova:hunter22@db/nova']", {"hunter22", "nova:hunter22"}),
        ("argv: [b, 'mysql://nova:hunter22@db/nova?ssl=1']", {"hunter22", "nova:hunter22"}),
        ("argv: [b, --pass, x, --bypass-tests, proxy, --keys, all]", set()),
    ],
)
def test_what_looks_like_a_secret_is_known(tmp_path, given, secrets):
    assert work(tmp_path, f"  c: {{command: {{{given}}}}}").secrets == secrets


def test_a_mistake_beside_a_secret_does_not_show_it(tmp_path):
    for given in ("'b --password hunter22'", "[b, {--password: hunter22}]"):
        with pytest.raises(InventoryError) as caught:
            cloud(tmp_path, f"  c: {{command: {{argv: {given}}}}}")
        assert "hunter22" not in str(caught.value)


def test_a_secret_in_the_environment_stands_in_no_process_list(tmp_path):
    words = '[sh, -c, \'tr "\\0" " " </proc/$$/cmdline; echo; echo $PASSWORD\']'
    secret = "environment: {PASSWORD: hunter22}"
    made = work(tmp_path, f"  c: {{command: {{argv: {words}, {secret}}}}}")
    file = tmp_path / "script"
    file.write_text(made.script)
    done = subprocess.run(["sh", file], capture_output=True, text=True, check=True)
    listed, given = done.stdout.splitlines()
    assert (given, "hunter22" in listed) == ("hunter22", False)


@pytest.mark.parametrize(
    ("provision", "said"),
    [
        ("  c: {}", "exactly one of"),
        ("  c: {puppet: {manifest: /a}, command: {argv: [a]}}", "exactly one of"),
        ("  c: {puppet: {manifest: a.pp}}", "absolute path"),
        ("  c: {puppet: {manifest: /a, environment: {'A B': x}}}", "environment variable"),
        ("  c: {puppet: {manifest: /a, skip: ['a,b']}}", "is not a tag"),
    ],
)
def test_what_cannot_be_run_is_a_mistake_in_cloud_yaml(tmp_path, provision, said):
    with pytest.raises(InventoryError) as caught:
        cloud(tmp_path, provision)
    assert said in caught.value.came_back


def test_the_last_errors_of_puppet_are_told_and_not_its_last_words():
    log = (
        "Notice: /Stage[main]/Lab/File[/a]/ensure: created\n"
        "\x1b[1;31mError: Could not start Service[rabbitmq-server]: exited 1\x1b[0m\n"
        "Error: Could not start Service[rabbitmq-server]: exited 1\n"
        "Warning: /Stage[main]/Lab: Skipping because of failed dependencies\n"
        "Notice: Applied catalog in 3.40 seconds\n"
    )
    told = last_errors(log, _PUPPET_ERROR)
    assert told == "Error: Could not start Service[rabbitmq-server]: exited 1"
    assert last_line(log) == "Notice: Applied catalog in 3.40 seconds"
    assert last_errors("Notice: a\n", _PUPPET_ERROR) == "Notice: a"
