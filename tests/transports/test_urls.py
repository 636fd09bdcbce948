"""Of a URL nothing is shown that is a secret, in whatever text it stands."""

from urllib.parse import unquote

import pytest

from backstay.journal.database import _place
from backstay.transports import restic_output
from backstay.transports.urls import is_web_address, one_spelling, redacted, without_secrets

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://admin:hunter2@bmc.example:8443/redfish", "https://bmc.example:8443"),
        ("https://hooks.slack.com/services/T0/B0/hunter2", "https://hooks.slack.com"),
        ("https://h/x?token=hunter2#hunter2", "https://h"),
        ("http://hunter2@[fd00::1]:80/", "http://[fd00::1]:80"),
        ("postgresql+psycopg://backstay:hunter2@db/j?password=hunter2", "postgresql+psycopg://db"),
        ("etcd3://hunter2:hunter2@etcd:2379", "etcd3://etcd:2379"),
        ("postgresql://u:hunt/hunter2@db/j", "postgresql://…"),
        ("postgresql://u:1/hunter2@db/j", "postgresql://…"),
        ("https://u:hunter2#x@h/", "https://…"),
        ("http://h:99999/hunter2", "http://h"),
        ("http://[hunter2", "…"),
        ("hunter2", "…"),
        ("discord:hunter2", "…"),
    ],
)
def test_only_scheme_host_and_port_are_shown(url, shown):
    assert without_secrets(url) == shown
    assert SECRET not in without_secrets(url)


def test_urls_in_other_programs_texts():
    said = "Fatal: unable to open config file: Head https://u:hunter2@h:8000/x?p=hunter2: refused"
    assert redacted(said) == ("Fatal: unable to open config file: Head https://h:8000/x: refused")
    assert redacted("see (rest:https://u:hunter2@h/).") == "see (rest:https://h/)."
    for odd in "'\"<>`;,)":
        assert redacted(f"at 'https://u:hunter{odd}2@h/x', refused") == "at 'https://h/x', refused"
    assert redacted("GET https://h/x;token=hunter2 failed") == "GET https://h/x failed"
    assert redacted("nothing of the kind: a/b, c@d") == "nothing of the kind: a/b, c@d"


@pytest.mark.parametrize(
    "repository",
    [
        "rest:https://backup:hunter2@vault.example:8000/cloud",
        "rest:https://backup:hunter2%2F@vault.example:8000/cloud",
        "s3:https://backup:hunter2@s3.example/bucket",
        "rest:http://backup:hun/hunter2@vault.example/",
    ],
)
def test_restic_s_errors_tell_no_password(repository):
    url = repository.partition(":")[2]
    password = url.partition("backup:")[2].rpartition("@")[0]
    forms = {password, unquote(password)}
    for said in (
        f'Fatal: unable to open repository at {repository}: Get "{url}config": refused',
        f"Fatal: {unquote(url)}: refused; user backup, password {' or '.join(forms)}",
    ):
        error = restic_output.error("opening", repository, said)
        assert not [form for form in forms if form in f"{error} {error.remedy}"]
        assert "refused" in error.came_back
    error = restic_output.error("opening", "sftp:backup@vault:/srv", "Fatal: wrong password")
    assert "sftp:backup@vault:/srv" in error.attempted


def test_the_place_of_a_journal_has_no_password():
    assert _place("sqlite:////var/lib/backstay/journal.db") == (
        "sqlite:////var/lib/backstay/journal.db"
    )
    shown = _place("postgresql://backstay:hunter2@db:5432/journal?password=hunter2")
    assert shown == "postgresql://db:5432/journal"


def test_what_can_be_asked_by_http():
    assert is_web_address("https://[fd00::1]:9696/v2.0?x=1")
    for url in ("http://h:0/", "http://h:65536/", "http://ä/", "h", "file:///x", "http://h/a\nb"):
        assert not is_web_address(url), url


def test_hosts_have_one_spelling():
    for one in ("10.0.0.9", "10.9", "167772169", "0x0a000009", "012.0.0.011", "::ffff:10.0.0.9"):
        assert one_spelling(one) == "10.0.0.9", one
    assert one_spelling("2001:DB8:0::1") == "2001:db8::1"
    assert one_spelling("BMC1.Example.") == "bmc1.example"
