"""Which account asks each second: the watch's own of few rights, where it has one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backstay.access.session import CloudSession
from backstay.cli.session import open_api, open_probe_api
from backstay.inventory.load import load
from backstay.watch.loop import WatchLoop

HOST = "hosts: {controller: {address: 127.0.0.1, roles: [controller]}}\n"
ADMIN = f"credentials: {{openrc: admin}}\n{HOST}"
OWN = f"{ADMIN}watch: {{credentials: {{openrc: own}}}}\n"
OPENRC = """\
export OS_AUTH_URL=http://127.0.0.1:1/{name}/v3 OS_USERNAME={name} OS_PASSWORD=x OS_PROJECT_NAME=p
export OS_USER_DOMAIN_NAME=Default OS_PROJECT_DOMAIN_NAME=Default
"""


async def nothing(_incident: object) -> None:
    """Take no notice."""


@pytest.mark.parametrize(("text", "asks"), [(ADMIN, "admin"), (OWN, "own")])
def test_the_account_that_asks_each_second(tmp_path: Path, text: str, asks: str) -> None:
    for name in ("admin", "own"):
        (tmp_path / name).write_text(OPENRC.format(name=name))
        (tmp_path / name).chmod(0o600)
    (tmp_path / "cloud.yaml").write_text(text)
    cloud = load(tmp_path / "cloud.yaml")

    async def account(unused: Any) -> tuple[Any, Any]:
        site = CloudSession(
            cloud=cloud, shell=unused, api=open_api(cloud), probe_api=open_probe_api(cloud)
        )
        loop = WatchLoop(
            *(site, cloud.watch, unused, unused, unused),
            leader="here",
            problems=list,
            on_incident=nothing,
        )
        return loop.apis.api, site.api

    probing, acting = asyncio.run(account(None))
    assert probing.auth_url.endswith(f"/{asks}/v3")
    assert acting.auth_url.endswith("/admin/v3")
