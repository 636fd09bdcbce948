"""The JSON API under /api/v1, and /metrics: the same as the pages show, for programs."""

import logging
import time
from collections.abc import Awaitable, Callable

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from backstay.errors import BackstayError
from backstay.inventory.watch import Right
from backstay.transports.threads import on_thread
from backstay.watch.web import metrics
from backstay.watch.web.access import Limited, WrongToken
from backstay.watch.web.context import NotThere, PageContext, not_there
from backstay.watch.web.openapi import Operation, description
from backstay.watch.web.operations import OPERATIONS, PREFIX, Answer, Asked, Refused
from backstay.watch.web.people import Visitor
from backstay.watch.web.problem import problem
from backstay.watch.web.questions import Nothing

_JSON = "application/json"
_BOUND = 20.0

_log = logging.getLogger(__name__)


def routes(desk: PageContext) -> list[BaseRoute]:
    """Return the API's routes, its description and the metrics."""
    operations = [operation for operation, _ in OPERATIONS]
    told = description(
        PREFIX,
        operations,
        [answer.__doc__ or "" for _, answer in OPERATIONS],
        on_loopback=desk.cloud.watch.page.on_loopback,
    )

    async def describe(request: Request) -> Response:
        _visitor(desk, request, Right.READ)
        return JSONResponse(told)

    async def measure(request: Request) -> Response:
        _visitor(desk, request, Right.READ)
        snapshot, records, now = desk.board.snapshot, desk.reading.records, time.time()
        # Of a thousand hosts it takes a while: the questions to the cloud go on meanwhile.
        text = await on_thread(lambda: metrics.exposition(snapshot, records, now), _BOUND)
        return Response(text, media_type=metrics.MEDIA_TYPE)

    return [
        Route("/metrics", measure, methods=["GET"]),
        Route(f"{PREFIX}/openapi.json", describe, methods=["GET"]),
        *(
            Route(
                PREFIX + operation.path,
                _handler(desk, operation, answer),
                methods=[operation.method],
            )
            for operation, answer in OPERATIONS
        ),
    ]


def _handler(
    desk: PageContext, operation: Operation, answer: Answer
) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        visitor = _visitor(desk, request, operation.right)
        body: BaseModel = Nothing()
        try:
            path = operation.inside.model_validate(request.path_params)
        except ValidationError:
            raise not_there(f"{request.url.path}", f"GET {PREFIX}/openapi.json") from None
        query = operation.query.model_validate(_once(request))
        if operation.body is not None:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != _JSON:
                raise HTTPException(415, f"the body has to be {_JSON}")
            body = operation.body.model_validate_json(await request.body(), strict=True)
        asked = Asked(desk=desk, visitor=visitor, query=query, path=path, body=body)
        told = await answer(asked)
        return Response(told.model_dump_json(), media_type=_JSON)

    async def handled(request: Request) -> Response:
        try:
            return await handle(request)
        except (ValidationError, Refused) as error:
            return failed(error)

    return handled


def _once(request: Request) -> dict[str, str]:
    """Return the query's parameters. Raises HTTPException where one is there twice."""
    pairs = request.query_params.multi_items()
    if len(dict(pairs)) != len(pairs):
        raise HTTPException(422, "a parameter is there twice")
    return dict(pairs)


def _visitor(desk: PageContext, request: Request, right: Right) -> Visitor:
    """Return who asks, where that is allowed: to act only by a token. Raises HTTPException."""
    challenge = {"WWW-Authenticate": "Bearer"}
    try:
        if right is Right.ACT:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            visitor = desk.access.bearer(request, token) if scheme.lower() == "bearer" else None
        else:
            visitor = desk.access.visitor(request)
    except WrongToken:
        raise HTTPException(401, "nobody has this token", headers=challenge) from None
    except Limited as limited:
        wait = {"Retry-After": f"{limited.seconds:.0f}"}
        raise HTTPException(429, str(limited), headers=wait) from None
    if visitor is None:
        raise HTTPException(401, "a token is needed", headers=challenge)
    if right is Right.ACT and not visitor.may_act:
        raise HTTPException(403, f"{visitor.name} may read, not act")
    return visitor


def failed(error: Exception) -> Response:
    """Return an error as a problem document."""
    match error:
        case ValidationError():
            told = [
                f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}"
                for one in error.errors(include_url=False, include_input=False)
            ]
            return problem(422, "Unprocessable Content", "see `errors`", errors=told[:20])
        case Refused(error=refused):
            return problem(409, "Conflict", str(refused), remedy=refused.remedy)
        case HTTPException():
            title = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}.get(
                error.status_code, "Error"
            )
            return problem(error.status_code, title, error.detail, headers=error.headers)
        case NotThere():
            return problem(404, "Not Found", str(error), remedy=error.remedy)
        case BackstayError():
            return problem(503, "Service Unavailable", str(error), remedy=error.remedy)
        case _:
            _log.error("answering failed", exc_info=error)
            return problem(500, "Internal Server Error", remedy="see the watch's log")
