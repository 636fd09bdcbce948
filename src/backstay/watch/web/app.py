"""The whole application: pages, API, metrics, and what guards them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.journal.store import Store
from backstay.watch.detect.status import SnapshotFeed
from backstay.watch.incidents.store import WatchStore
from backstay.watch.web import api, pages
from backstay.watch.web.access import Access
from backstay.watch.web.context import Approve, PageContext, compile_all
from backstay.watch.web.guard import Guard
from backstay.watch.web.reading import Reading


def make_app(
    *,
    board: SnapshotFeed,
    store: WatchStore,
    journal: Store,
    cloud: Cloud,
    approve: Approve | None = None,
) -> Starlette:
    """Return the application. Raises InventoryError where somebody's token cannot be used.

    While it is served it reads ``store`` and ``journal`` in the background, on threads.
    """
    page = cloud.watch.page
    desk = PageContext(
        board=board,
        reading=Reading(store, journal, cloud),
        cloud=cloud,
        access=Access(page),
        approve=approve,
    )

    compile_all()

    @asynccontextmanager
    async def reading(_app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(desk.reading.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def failed(request: Request, error: Exception) -> Response:
        return await _describe(desk, request, error)

    return Starlette(
        routes=[*api.routes(desk), *pages.routes(desk)],
        lifespan=reading,
        middleware=[
            Middleware(
                Guard,
                on_loopback=page.on_loopback,
                address=page.address[0],
                encrypted=page.certificate is not None,
                failed=failed,
            )
        ],
        exception_handlers={HTTPException: failed, BackstayError: failed},
    )


async def _describe(desk: PageContext, request: Request, error: Exception) -> Response:
    """Return an error as a document for programs, as a page for people."""
    if _is_for_programs(request):
        return api.failed(error)
    return await pages.failed(desk, request, error)


def _is_for_programs(request: Request) -> bool:
    return request.url.path.startswith("/api/") or request.url.path == "/metrics"
