"""What a board does when the mains come back, told by Backstay's own client over real HTTPS."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

bcrypt = pytest.importorskip("bcrypt", reason="sushy-tools is not installed")
requests = pytest.importorskip("requests")

from backstay.transports.bmc import power_of  # noqa: E402
from backstay.transports.targets import BmcTarget  # noqa: E402
from backstay_lab.bmc.certificates import ensure_certificate  # noqa: E402
from backstay_lab.bmc.power import (  # noqa: E402
    ALWAYS_OFF,
    LAST_STATE,
    Board,
    policy,
)
from backstay_lab.bmc.service import Endpoint, serve  # noqa: E402
from backstay_lab.layout import restore_policy_file  # noqa: E402
from tests.backstay_lab.test_bmc_service import Host  # noqa: E402

ADDRESS = "127.0.85.3"


@dataclass
class Served:
    folder: Path
    url: str

    @property
    def target(self) -> BmcTarget:
        ca = self.folder / "ca.pem"
        return BmcTarget(name="proxy", url=self.url, username="admin", password="s3cret", ca=ca)

    def ask(self, method: str, body: object = None) -> Any:
        systems = f"{self.url}/redfish/v1/Systems"
        options = {"auth": ("admin", "s3cret"), "verify": str(self.folder / "ca.pem"), "timeout": 9}
        member = requests.get(systems, **options).json()["Members"][0]["@odata.id"]
        return requests.request(method, f"{self.url}{member}", json=body, **options)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    certificate, key = ensure_certificate(tmp_path, "test", "proxy", ADDRESS)
    digest = bcrypt.hashpw(b"s3cret", bcrypt.gensalt(4)).decode()
    (tmp_path / "proxy.htpasswd").write_text(f"admin:{digest}\n")
    endpoint = Endpoint(
        host="proxy",
        address=ADDRESS,
        port=0,
        certificate=certificate,
        key=key,
        htpasswd=tmp_path / "proxy.htpasswd",
    )
    boards = {"proxy": Board(Host("proxy"), lambda: False)}
    (server,) = serve("test", [endpoint], boards, tmp_path)
    yield Served(tmp_path, f"https://{ADDRESS}:{server.port}")
    server.shutdown()


def test_a_fenced_host_s_board_keeps_it_off(served: Served) -> None:
    kept = served.folder / restore_policy_file("proxy")
    assert policy(kept) == LAST_STATE
    power = power_of(served.target)
    asyncio.run(power.off())
    assert asyncio.run(power.state()) is False
    assert asyncio.run(power.keep_off()) == []
    assert served.ask("GET").json()["Boot"]["BootSourceOverrideTarget"] == "Hdd"
    assert policy(kept) == ALWAYS_OFF
    assert served.ask("GET").json()["PowerRestorePolicy"] == ALWAYS_OFF


def test_the_rest_of_a_change_goes_on_to_the_emulator(served: Served) -> None:
    both = {"PowerRestorePolicy": "AlwaysOn", "Boot": {"BootSourceOverrideTarget": "Pxe"}}
    assert served.ask("PATCH", both).status_code == 204
    shown = served.ask("GET").json()
    assert (shown["PowerRestorePolicy"], shown["Boot"]["BootSourceOverrideTarget"]) == (
        "AlwaysOn",
        "Pxe",
    )


def test_an_unknown_policy_is_refused(served: Served) -> None:
    assert served.ask("PATCH", {"PowerRestorePolicy": "Sometimes"}).status_code == 400
    assert served.ask("GET").json()["PowerRestorePolicy"] == LAST_STATE
