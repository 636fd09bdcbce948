from pathlib import Path

from backstay_lab import apt

DATA = Path(__file__).parent / "data"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def read_recorded(file: Path) -> str:
    return (DATA / file.name).read_text()


def recorded() -> list[apt.Source]:
    return apt.parse_targets((DATA / "indextargets-debian.txt").read_text(), read_recorded)


def test_only_the_distributions_own_sources_are_taken():
    assert [(source.uri, source.suite) for source in recorded()] == [
        ("http://mirror.example/debian/", "bookworm"),
        ("http://mirror.example/debian/", "bookworm-updates"),
        ("http://mirror.example/debian-security/", "bookworm-security"),
    ]


def test_the_keyring_is_that_of_the_stanza_the_target_comes_from():
    assert [source.signed_by for source in recorded()] == [
        KEYRING,
        KEYRING,
        "/usr/share/keyrings/site.gpg",
    ]


def test_the_keyring_of_a_one_line_entry():
    text = (
        "# comment\ndeb [arch=amd64 signed-by=/etc/apt/keyrings/a.gpg] http://m.example/ b main\n"
    )
    assert apt.signed_by("/etc/apt/sources.list:2", lambda _: text) == "/etc/apt/keyrings/a.gpg"
    assert apt.signed_by("/etc/apt/sources.list:1", lambda _: text) == ""
    assert apt.signed_by("/etc/apt/sources.list:9", lambda _: text) == ""


def test_settings_say_how_to_reach_repositories_and_run_no_programs():
    settings = apt.parse_settings((DATA / "apt-config.txt").read_text())
    assert settings == {
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Check-Date": "false",
        "Acquire::http::Proxy": "http://proxy.example:3128/",
        "Acquire::http::Proxy::direct.example": "DIRECT",
        "Acquire::https::Proxy": "DIRECT",
    }
    assert apt.proxy_environment(settings) == {"http_proxy": "http://proxy.example:3128/"}


def test_debootstrap_takes_the_release_itself() -> None:
    sources = tuple(reversed(recorded()))
    configuration = apt.AptConfiguration(sources, {}, "bookworm")
    assert configuration.main.suite == "bookworm"
    assert f"Signed-By: {KEYRING}" in configuration.main.stanza()
