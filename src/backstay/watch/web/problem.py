"""Errors of the API as problem documents: https://www.rfc-editor.org/rfc/rfc9457."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from backstay.errors import BackstayError
from backstay.watch.web.context import NotThere

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS = 20

_log = logging.getLogger(__name__)


class Problem(BaseModel):
    """An error. ``remedy`` is what to do next, ``errors`` lists what is wrong with the request."""

    type: str = "about:blank"
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = ""
    remedy: str = ""
    errors: list[str] = []


class ApprovalRefused(Exception):
    """An approval was not accepted; ``error`` says why."""

    def __init__(self, error: BackstayError) -> None:
        super().__init__(str(error))
        self.error = error


def problem(
    status: int,
    detail: str = "",
    *,
    remedy: str = "",
    errors: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem document as a response."""
    document = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        remedy=remedy,
        errors=list(errors),
    )
    return Response(
        document.model_dump_json(), status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def problem_of(error: Exception) -> Response:
    """Return the problem document of an error that a request ended with."""
    match error:
        case RequestValidationError():
            return _invalid(error)
        case ApprovalRefused(error=refused):
            return problem(409, str(refused), remedy=refused.remedy)
        case HTTPException():
            return problem(error.status_code, error.detail, headers=error.headers)
        case NotThere():
            return problem(404, str(error), remedy=error.remedy)
        case BackstayError():
            return problem(503, str(error), remedy=error.remedy)
        case _:
            _log.error("request failed", exc_info=error)
            return problem(500, remedy="see the log of the watch: journalctl -u backstay-watch")


def _invalid(error: RequestValidationError) -> Response:
    """Return 404 where the path names nothing that can exist, else 422 with every mistake."""
    mistakes = error.errors()
    if any(mistake["loc"][0] == "path" for mistake in mistakes):
        return problem(404, "there is nothing at this path", remedy="GET /api/v1/openapi.json")
    errors = [
        f"{'.'.join(map(str, mistake['loc'][1:])) or 'body'}: {mistake['msg']}"
        for mistake in mistakes[:_MOST_ERRORS]
    ]
    return problem(422, "see `errors`", errors=errors)


_DESCRIPTIONS = {
    400: "the body cannot be decoded",
    401: "no token, or an unknown one",
    403: "this token may read, not act",
    404: "not found",
    409: "it cannot be approved",
    415: "the body is not JSON",
    422: "the request does not match this description",
    429: "too many wrong tokens from this address",
    503: "the journal cannot be read",
}


def documented(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Return the ``responses`` of an operation that may answer with these errors."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": _DESCRIPTIONS[status],
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }
