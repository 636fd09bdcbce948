"""The source keeps the rules of the house, and each rule can be broken."""

from pathlib import Path

import pytest
from bench.source import Source, read

import backstay
from tests.structure import rules

SOURCE = read(Path(backstay.__file__).parent)


def test_no_package_imports_from_one_above_it() -> None:
    assert rules.unplaced(SOURCE) == []
    assert rules.upward(SOURCE) == []


def test_no_modules_and_no_packages_import_each_other() -> None:
    assert rules.module_circles(SOURCE) == []
    assert rules.room_circles(SOURCE) == []


def test_services_are_named_in_services_only() -> None:
    names = rules.service_names(SOURCE)
    assert {"nova", "cinder", "mariadb"} <= names
    assert rules.named_services(SOURCE, names) == []


def test_only_transports_connect() -> None:
    assert rules.connections(SOURCE) == []
    assert rules.unused_exceptions(SOURCE) == []
    assert all(reason for _, reason in rules.EXCEPTIONS.values())


def test_power_is_switched_in_one_place_only() -> None:
    assert rules.power_orders(SOURCE) == []


def made(folder: Path, **files: str) -> Source:
    """Return a made-up tree ``house``; in a file's name two underscores are a folder."""
    for name, text in files.items():
        path = folder.joinpath("house", *name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for above in (path.parent, folder / "house"):
            (above / "__init__.py").touch()
        if path.stem == "init":
            path = path.with_name("__init__.py")
        path.write_text(text)
    return read(folder / "house")


@pytest.mark.parametrize(
    "text",
    [
        "from house.cli.main import go",
        "import house.cli.main",
        "def late():\n    from house.cli import main",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..cli.main import go",
    ],
)
def test_an_import_from_above_is_found(tmp_path: Path, text: str) -> None:
    main = "import house.health.check\ndef go(): ..."
    source = made(tmp_path, cli__main=main, health__check=text)
    [line] = rules.upward(source)
    assert line.startswith("house.health.check:")
    assert "imports house.cli" in line
    assert made(tmp_path / "b", cli__main=main, health__check="").imports
    assert rules.upward(made(tmp_path / "c", cli__main=main, health__check="")) == []


def test_what_everybody_may_import_imports_no_package(tmp_path: Path) -> None:
    source = made(tmp_path, errors="from house.transports import ssh", transports__ssh="")
    assert len(rules.upward(source)) == 1
    source = made(tmp_path, errors="", transports__ssh="from house import errors")
    assert rules.upward(source) == []


def test_a_package_without_a_level_is_found(tmp_path: Path) -> None:
    assert rules.unplaced(made(tmp_path, cellar__wine="")) == ["cellar"]


def test_circles_are_found(tmp_path: Path) -> None:
    source = made(
        tmp_path,
        watch__a="from house.watch.b import x",
        watch__b="from house.watch import c",
        watch__c="def late():\n    import house.watch.a",
        watch__d="import house.watch.a",
    )
    assert rules.module_circles(source) == ["house.watch.a <-> house.watch.b <-> house.watch.c"]
    source = made(
        tmp_path / "rooms",
        watch__a="from house.runbooks.b import x",
        runbooks__b="",
        runbooks__c="import house.watch.a",
    )
    assert rules.module_circles(source) == []
    assert rules.room_circles(source) == ["runbooks <-> watch"]


@pytest.mark.parametrize(
    "text",
    [
        'PATH = "/etc/nova/nova.conf"',
        'print(f"{1}: Nova did not answer")',
        "def ask_nova(): ...",
        "class NovaWitness: ...",
        "given.nova = 1",
        "call(nova=1)",
        "from house.services.nova import SERVICE",
        'COMMAND = ["virsh", "list"]',
    ],
)
def test_a_service_named_outside_services_is_found(tmp_path: Path, text: str) -> None:
    source = made(tmp_path, health__look=text, services__nova__init="SERVICE = 1")
    names = rules.service_names(source)
    assert names == {"nova"}
    assert rules.named_services(source, names)
    moved = made(tmp_path / "b", services__nova__look=text)
    assert rules.named_services(moved, names) == []


def test_docstrings_and_comments_may_name_services(tmp_path: Path) -> None:
    text = '"""As nova does."""\n# nova\nX = 1\n"""nova\'s"""\ninnovation = "supernova"\n'
    assert rules.named_services(made(tmp_path, health__look=text), {"nova"}) == []


def test_two_rooms_may_name_two_services(tmp_path: Path) -> None:
    text = 'A = "mariadb and rabbitmq"'
    source = made(tmp_path, backup__mariadb__dump=text, health__rpc__observe=text)
    assert rules.named_services(source, {"mariadb", "rabbitmq", "nova"}) == []
    source = made(tmp_path, backup__files=text, backup__mariadb__dump='A = "nova"')
    assert len(rules.named_services(source, {"mariadb", "rabbitmq", "nova"})) == 3


@pytest.mark.parametrize(
    "text",
    [
        "import asyncssh",
        "def late():\n    import requests.adapters",
        "from urllib import request",
        "from http.client import HTTPConnection",
        "import socket\nsocket.create_connection(('a', 1))",
        "import socket\nsocket.socket()",
        "import asyncio\nasyncio.open_connection('a', 1)",
        "import asyncio\nasyncio.start_server(None)",
        "import subprocess\nsubprocess.run(['ssh', 'host'])",
        "from keystoneauth1.session import Session",
        "import sqlalchemy as sa",
    ],
)
def test_a_connection_outside_transports_is_found(tmp_path: Path, text: str) -> None:
    assert rules.connections(made(tmp_path, health__look=text))
    assert rules.connections(made(tmp_path / "b", transports__look=text)) == []


def test_an_order_to_a_bmc_elsewhere_is_found(tmp_path: Path) -> None:
    text = "async def act(power):\n    await power.cycle()"
    assert rules.power_orders(made(tmp_path, runbooks__act=text))
    assert rules.power_orders(made(tmp_path / "b", runbooks__common__power_actions=text)) == []


def test_names_of_hosts_are_no_connection(tmp_path: Path) -> None:
    text = "import socket\nsocket.gethostname()\nimport http\nfrom urllib.parse import quote"
    assert rules.connections(made(tmp_path, health__look=text)) == []


def test_a_command_in_a_text_for_people_is_no_connection(tmp_path: Path) -> None:
    source = made(tmp_path, health__look="words = ['ssh', '-p', '22']\nprint(' '.join(words))")
    assert rules.connections(source) == []
