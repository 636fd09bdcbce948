"""The web application of the watch: pages, API, metrics, and what guards them.

Only what serves the page imports this module: FastAPI takes longer to load than ``--help`` may.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
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
from backstay.watch.web.context import Approve, PageContext
from backstay.watch.web.guard import ErrorResponse, Guard
from backstay.watch.web.problem import ApprovalRefused, problem_of
from backstay.watch.web.records import RecordReader
from backstay.watch.web.rendering import compile_templates


def make_app(
    *,
    feed: SnapshotFeed,
    store: WatchStore,
    journal: Store,
    cloud: Cloud,
    approve: Approve | None = None,
) -> FastAPI:
    """Return the application. Raises InventoryError if a token of cloud.yaml cannot be used.

    While it is served it reads ``store`` and ``journal`` in the background, on threads.
    """
    context = PageContext(
        feed=feed,
        reader=RecordReader(store, journal, cloud),
        cloud=cloud,
        access=Access(cloud.watch.page),
        approve=approve,
    )
    compile_templates()

    @asynccontextmanager
    async def reading(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(context.reader.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def failed(request: Request, error: Exception) -> Response:
        """Return an error as a document for programs, as a page for people."""
        if api.is_api(request.url.path):
            return problem_of(error)
        return await pages.failed(context, request, error)

    expected = (HTTPException, RequestValidationError, BackstayError, ApprovalRefused)
    app = FastAPI(
        title="Backstay watch",
        version=version("backstay"),
        description="State of the cloud, incidents and runs. Times are Unix seconds.",
        # The description needs a token: api.py serves it. The pages that FastAPI makes of it load
        # scripts from elsewhere.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        routes=pages.routes(context),
        lifespan=reading,
        middleware=[_guard(cloud, failed), Middleware(api.HeadRequests)],
        exception_handlers=dict.fromkeys(expected, failed),
        generate_unique_id_function=lambda route: route.name,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.context = context
    for router in (api.router, api.actions, api.unlisted):
        app.include_router(router)
    return app


def _guard(cloud: Cloud, failed: ErrorResponse) -> Middleware:
    page = cloud.watch.page
    return Middleware(
        Guard,
        on_loopback=page.on_loopback,
        address=page.address[0],
        encrypted=page.certificate is not None,
        failed=failed,
    )
