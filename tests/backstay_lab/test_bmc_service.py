"""The Redfish side as a client sees it: real HTTPS to real sushy-tools, hosts in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

bcrypt = pytest.importorskip("bcrypt", reason="sushy-tools is not installed")
requests = pytest.importorskip("requests")

from backstay_lab.bmc.certificates import ensure_certificate  # noqa: E402
from backstay_lab.bmc.power import Board  # noqa: E402
from backstay_lab.bmc.service import Endpoint, serve  # noqa: E402

ADDRESSES = {"controller": "127.0.85.1", "compute1": "127.0.85.2"}


class Host:
    def __init__(self, name: str) -> None:
        self.name = name
        self.on = True

    def power_on(self) -> None:
        self.on = True

    def power_off(self, *, hard: bool) -> None:
        self.on = False

    def power_state(self) -> Literal["on", "off"]:
        return "on" if self.on else "off"


class Client:
    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self.folder = folder
        self.ports = ports

    def __call__(self, host: str, path: str, *, password: str | None = None, **kwargs: Any) -> Any:
        return requests.request(
            kwargs.pop("method", "GET"),
            f"https://{ADDRESSES[host]}:{self.ports[host]}{path}",
            auth=("admin", password or f"secret-{host}"),
            verify=str(self.folder / "ca.pem"),
            timeout=20,
            **kwargs,
        )

    def system(self, host: str) -> str:
        members = self(host, "/redfish/v1/Systems").json()["Members"]
        assert len(members) == 1
        return str(members[0]["@odata.id"])


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("bmc")
    endpoints = []
    for host, address in ADDRESSES.items():
        certificate, key = ensure_certificate(folder, "test", host, address)
        digest = bcrypt.hashpw(f"secret-{host}".encode(), bcrypt.gensalt(4)).decode()
        (folder / f"{host}.htpasswd").write_text(f"admin:{digest}\n")
        endpoints.append(
            Endpoint(
                host=host,
                address=address,
                port=0,
                certificate=certificate,
                key=key,
                htpasswd=folder / f"{host}.htpasswd",
            )
        )
    boards = {host: Board(Host(host), lambda: False) for host in ADDRESSES}
    servers = serve("test", endpoints, boards, folder)
    yield Client(folder, {e.host: s.port for e, s in zip(endpoints, servers, strict=True)})
    for server in servers:
        server.shutdown()


def test_power_off_and_on(ask: Client) -> None:
    system = ask.system("compute1")
    assert ask("compute1", system).json()["PowerState"] == "On"
    reset = f"{system}/Actions/ComputerSystem.Reset"
    assert ask("compute1", reset, method="POST", json={"ResetType": "ForceOff"}).ok
    assert ask("compute1", system).json()["PowerState"] == "Off"
    assert ask("controller", ask.system("controller")).json()["PowerState"] == "On"
    assert ask("compute1", reset, method="POST", json={"ResetType": "On"}).ok
    assert ask("compute1", system).json()["PowerState"] == "On"


def test_a_board_answers_for_its_own_host_only(ask: Client) -> None:
    assert ask("compute1", ask.system("controller")).status_code == 404


def test_another_boards_password_is_refused(ask: Client) -> None:
    system = ask.system("compute1")
    assert ask("compute1", system, password="secret-controller").status_code == 401


def test_an_unknown_reset_is_the_clients_mistake(ask: Client) -> None:
    reset = f"{ask.system('compute1')}/Actions/ComputerSystem.Reset"
    answer = ask("compute1", reset, method="POST", json={"ResetType": "Nmi"})
    assert answer.status_code == 400
    assert "ForceOff" in answer.json()["error"]["message"]


def test_boot_settings_are_kept(ask: Client) -> None:
    system = ask.system("compute1")
    boot = {"Boot": {"BootSourceOverrideTarget": "None"}}
    assert ask("compute1", system, method="PATCH", json=boot).status_code == 204
    assert ask("compute1", system).json()["Boot"]["BootSourceOverrideTarget"] == "None"


def test_private_keys_are_readable_for_the_owner_only(ask: Client) -> None:
    for key in ask.folder.glob("*.key"):
        assert key.stat().st_mode & 0o077 == 0
