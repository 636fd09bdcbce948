"""Errors of the API as documents: https://www.rfc-editor.org/rfc/rfc9457."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """An error. ``remedy`` is what to do next, ``errors`` what is wrong with the request."""

    type: str = "about:blank"
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = ""
    remedy: str = ""
    errors: list[str] = []


class TooLarge(HTTPException):
    """The body of a request is longer than is read."""

    def __init__(self) -> None:
        super().__init__(413, "the body is longer than is read here")


def problem(
    status: int,
    title: str,
    detail: str = "",
    *,
    remedy: str = "",
    errors: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an answer that tells an error."""
    told = Problem(title=title, status=status, detail=detail, remedy=remedy, errors=list(errors))
    return Response(
        told.model_dump_json(), status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )
