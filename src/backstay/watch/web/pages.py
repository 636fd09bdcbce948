"""Pages over HTTP: who may see them, logging in and out, approving, the live stream."""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from importlib.resources import files
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from backstay.errors import BackstayError
from backstay.journal.records import JournalError
from backstay.reports.style import COLOURS
from backstay.watch.web.access import Limited, WrongToken
from backstay.watch.web.context import NotThere, PageContext, Shown, draw, frame, not_answered
from backstay.watch.web.people import Visitor
from backstay.watch.web.views import PAGES, Asked, View, incident_shown

PACE = 1.0
"""Seconds between two looks of the live stream, at the least."""

_LASTS = 600.0
_STREAMS = 64
_LONGEST_FIELD = 512
_FRESH = {"Cache-Control": "max-age=300"}

_log = logging.getLogger(__name__)


def routes(desk: PageContext) -> list[BaseRoute]:
    """Return the routes of all pages."""
    streams = _Streams()
    found: list[BaseRoute] = [
        Route("/style.css", _text("style.css", "text/css", before=COLOURS)),
        Route("/live.js", _text("live.js", "text/javascript")),
        Route("/icon.svg", _text("icon.svg", "image/svg+xml")),
        Route("/login", _Login(desk).show, methods=["GET"]),
        Route("/login", _Login(desk).log_in, methods=["POST"]),
        Route("/logout", _log_out(desk), methods=["POST"]),
        Route("/incidents/{number}/approve", _approve(desk), methods=["POST"]),
    ]
    for path, view in PAGES.items():
        found.append(Route(f"/live{path}", _live(desk, view, streams), methods=["GET"]))
        found.append(Route(path, _page(desk, view), methods=["GET"]))
    return found


Handler = Callable[[Request], Awaitable[Response]]


def _page(desk: PageContext, view: View) -> Handler:
    async def page(request: Request) -> Response:
        visitor = _visitor(desk, request)
        if visitor is None:
            return _to_login(request)
        session = desk.access.session(request)
        told = session.told if session else ""
        asked = _asked(desk, request, visitor, told)
        shown = await view(desk, asked)
        if session:
            session.told = ""
        return _html(desk, shown, asked)

    return page


def _asked(desk: PageContext, request: Request, visitor: Visitor, told: str = "") -> Asked:
    cookie = request.cookies.get(desk.access.cookie, "")
    token = desk.access.sessions.form_token(cookie) if cookie else ""
    return Asked(request=request, visitor=visitor, form_token=token, told=told)


def _html(desk: PageContext, shown: Shown, asked: Asked, status: int = 200) -> Response:
    url = asked.request.url
    path = quote(url.path) + (f"?{url.query}" if url.query else "")
    text = frame(desk, shown, visitor=asked.visitor, path=path, form_token=asked.form_token)
    return HTMLResponse(text, status)


def _visitor(desk: PageContext, request: Request) -> Visitor | None:
    try:
        return desk.access.visitor(request)
    except WrongToken:
        raise HTTPException(401, "nobody has this token") from None
    except Limited as limited:
        raise _wait(limited) from None


def _wait(limited: Limited) -> HTTPException:
    return HTTPException(429, str(limited), headers={"Retry-After": f"{limited.seconds:.0f}"})


def _to_login(request: Request) -> Response:
    return RedirectResponse(f"/login?next={quote(request.url.path)}", 303)


class _Login:
    """Logging in, by name and token."""

    def __init__(self, desk: PageContext) -> None:
        self._desk = desk

    async def show(self, request: Request) -> Response:
        """Show the form. Whoever has no cookie yet gets one: the form is bound to it."""
        return self._form(request, request.query_params.get("next", "/"))

    async def log_in(self, request: Request) -> Response:
        """Begin a session. The name of the one before is never used on."""
        given = await _fields(request, "name", "token", "next", "form_token")
        access = self._desk.access
        if not access.is_own_form(request, given["form_token"]):
            return self._form(request, given["next"], "This form was too old; here is a new one.")
        try:
            name = access.log_in(request, given["name"], given["token"])
        except WrongToken:
            return self._form(request, given["next"], "Name and token do not belong together.", 403)
        except Limited as limited:
            told = f"Too many wrong tokens from your address: wait {limited.seconds:.0f} seconds."
            form = self._form(request, given["next"], told, 429)
            form.headers["Retry-After"] = f"{limited.seconds:.0f}"
            return form
        answer = RedirectResponse(_local(given["next"]), 303)
        answer.headers["Set-Cookie"] = access.cookie_header(name)
        return answer

    def _form(self, request: Request, to: str, error: str = "", status: int = 200) -> Response:
        access = self._desk.access
        cookie = request.cookies.get(access.cookie, "")
        known = cookie if 20 <= len(cookie) <= 64 else ""
        name = known or secrets.token_urlsafe(32)
        token = access.sessions.form_token(name)
        form = draw(
            "login",
            to=_local(to),
            error=error,
            form_token=token,
            people=bool(self._desk.cloud.watch.page.people),
        )
        shown = Shown(title=f"log in - {self._desk.cloud.name}", parts={"login": form})
        text = frame(self._desk, shown, visitor=None, path="/login", live=False)
        answer = HTMLResponse(text, status)
        if not known:
            answer.headers["Set-Cookie"] = access.cookie_header(name)
        return answer


def _log_out(desk: PageContext) -> Handler:
    async def log_out(request: Request) -> Response:
        given = await _fields(request, "form_token")
        if not desk.access.is_own_form(request, given["form_token"]):
            raise HTTPException(403, "this form does not come from this page")
        desk.access.sessions.end(request.cookies.get(desk.access.cookie, ""))
        answer = RedirectResponse("/login", 303)
        answer.headers["Set-Cookie"] = desk.access.cookie_header("", lasts=0)
        return answer

    return log_out


def _approve(desk: PageContext) -> Handler:
    async def approve(request: Request) -> Response:
        session = desk.access.session(request)  # not by a token in a header: forms are for people
        if session is None:
            return _to_login(request)
        given = await _fields(request, "code", "form_token")
        if not desk.access.is_own_form(request, given["form_token"]):
            raise HTTPException(403, "this form does not come from this page")
        if not session.visitor.may_act:
            raise HTTPException(403, f"{session.visitor.name} may read, not act")
        number = request.path_params["number"]
        known = number.isascii() and number.isdigit() and len(number) < 10
        found = await desk.incident(int(number)) if known else None
        if found is None or desk.approve is None:
            raise HTTPException(404, "there is nothing to approve")
        try:
            session.told = await desk.approve(found.id, given["code"].strip(), session.visitor.name)
        except (BackstayError, TimeoutError) as failure:
            error = failure if isinstance(failure, BackstayError) else not_answered(found.id)
            asked = _asked(desk, request, session.visitor)
            told = f"{error}. What to do: {error.remedy}"
            shown = await incident_shown(desk, asked, found, error=told)
            return _html(desk, shown, asked, 409)
        return RedirectResponse(f"/incidents/{found.id}", 303)

    return approve


async def _fields(request: Request, *names: str) -> dict[str, str]:
    """Return a form's fields, empty where they are not there; files are not taken."""
    async with request.form(max_files=0, max_fields=10) as form:
        return {
            name: value[:_LONGEST_FIELD] if isinstance(value := form.get(name, ""), str) else ""
            for name in names
        }


def _local(to: str) -> str:
    """Return a path of this site, and nothing that a browser would take for another's."""
    safe = to.startswith("/") and not to.startswith("//") and "\\" not in to and to.isprintable()
    return quote(to, safe="/?=&%") if safe else "/"


class _Streams:
    """Counts the live streams: each costs a rendering a second."""

    def __init__(self) -> None:
        self.open = 0


def _live(desk: PageContext, view: View, streams: _Streams) -> Handler:
    async def live(request: Request) -> Response:
        visitor = _visitor(desk, request)
        if visitor is None:
            raise HTTPException(401, "log in")
        if streams.open >= _STREAMS:
            raise HTTPException(503, "too many open pages", headers={"Retry-After": "30"})
        return StreamingResponse(
            _stream(desk, view, _asked(desk, request, visitor), streams),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    return live


async def _stream(
    desk: PageContext, view: View, asked: Asked, streams: _Streams
) -> AsyncIterator[str]:
    """Give the parts of a page that have changed, as JSON, until the visitor may not read it.

    It ends after a while, and the browser asks again, as whoever it then is.
    https://html.spec.whatwg.org/multipage/server-sent-events.html
    """
    before: dict[str, str] = {}
    until = time.monotonic() + _LASTS
    streams.open += 1
    try:
        yield "retry: 2000\n\n"
        async with aclosing(_ticks(desk)) as ticks:
            async for _ in ticks:
                if time.monotonic() > until or _gone(desk, asked):
                    return
                try:
                    shown = await view(desk, asked)
                except JournalError:
                    continue  # what is shown stays; the next look may bring more
                except BackstayError:
                    return
                now = {k: v for k, v in shown.parts.items() if k not in shown.still}
                changed = {k: v for k, v in now.items() if before.get(k) != v}
                before = now
                told = json.dumps({"title": shown.title, "parts": changed})
                yield f"data: {told}\n\n" if changed else ": still here\n\n"
    finally:
        streams.open -= 1


async def _ticks(desk: PageContext) -> AsyncGenerator[None]:
    """Give a turn when the board changes, at least every other second, at most once a second."""
    async for _ in desk.board.changes(bound=PACE):
        yield
        await asyncio.sleep(PACE)


def _gone(desk: PageContext, asked: Asked) -> bool:
    """Say whether the visitor's session, or token, is none any more."""
    try:
        return desk.access.visitor(asked.request) is None
    except (WrongToken, Limited):
        return True


def _text(name: str, media_type: str, *, before: str = "") -> Handler:
    text = before + (files("backstay.watch.web") / "static" / name).read_text("utf-8")

    async def fixed(_request: Request) -> Response:
        return Response(text, media_type=media_type, headers=_FRESH)

    return fixed


async def failed(desk: PageContext, request: Request, error: Exception) -> Response:
    """Return an error as a page, in words."""
    status, told, remedy, headers = 500, "Something is wrong with the page itself.", "", {}
    if isinstance(error, HTTPException):
        status, told, headers = error.status_code, error.detail, dict(error.headers or {})
    elif isinstance(error, BackstayError):
        status = 404 if isinstance(error, NotThere) else 503
        told, remedy = str(error), error.remedy
    else:
        _log.error("showing %s failed", request.url.path, exc_info=error)
        remedy = "see the watch's log: journalctl -u backstay-watch"
    part = draw("failed", status=status, told=told, remedy=remedy)
    shown = Shown(title=f"{status} - {desk.cloud.name}", parts={"failed": part})
    text = frame(desk, shown, visitor=None, path="", live=False)
    return HTMLResponse(text, status, headers=headers)
