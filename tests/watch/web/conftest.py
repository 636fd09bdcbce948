"""The application over a made-up cloud, and served for real."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from backstay.inventory.watch import Page
from backstay.watch.web.app import make_app
from backstay.watch.web.context import Approve
from backstay.watch.web.server import serve
from tests.watch.web.fake_cloud import FakeCloud


@pytest.fixture
def fake(tmp_path: Path) -> FakeCloud:
    return FakeCloud(tmp_path)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


Serving = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def served() -> Serving:
    @contextlib.asynccontextmanager
    async def serving(
        fake: FakeCloud, *, page: Page | None = None, approve: Approve | None = None
    ) -> AsyncIterator[str]:
        page = page or Page(listen=f"127.0.0.1:{free_port()}")
        app = make_app(
            feed=fake.feed,
            store=fake.store,
            journal=fake.journal,
            cloud=fake.cloud,
            approve=approve,
        )
        task = asyncio.create_task(serve(app, page))
        host, port = page.address
        async with asyncio.timeout(10):
            while not task.done():
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(host, port)
                    writer.close()
                    break
                await asyncio.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    return serving
