"""Pages over HTTP: who may see them, logging in and out, approving, the live stream."""

import asyncio
import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from importlib.resources import files
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from backstay.errors import BackstayError
from backstay.journal.records import JournalError
from backstay.reports.style import COLOURS
from backstay.watch.web.access import TooManyAttempts, Visitor, WrongToken
from backstay.watch.web.connections import network_of
from backstay.watch.web.context import NotThere, PageContext, approval_unknown
from backstay.watch.web.rates import SeldomFilter
from backstay.watch.web.rendering import RenderedPage, document, render
from backstay.watch.web.views import PAGES, PageRequest, View, incident_page

INTERVAL = 1.0
"""Seconds between two updates of the live stream, at least."""

_STREAM_SECONDS = 600.0
_MOST_STREAMS = 64
# Of one person, from one address, and of all who have not logged in.
_MOST_STREAMS_EACH = 32
_LONGEST_FIELD = 512
_STATIC_HEADERS = {"Cache-Control": "max-age=300"}

_log = logging.getLogger(__name__)
_log.addFilter(SeldomFilter())

Handler = Callable[[Request], Awaitable[Response]]


def routes(context: PageContext) -> list[BaseRoute]:
    """Return the routes of all pages."""
    login, streams = _Login(context), _LiveStreams(context)
    found: list[BaseRoute] = [
        Route("/style.css", _static("style.css", "text/css", before=COLOURS)),
        Route("/live.js", _static("live.js", "text/javascript")),
        Route("/icon.svg", _static("icon.svg", "image/svg+xml")),
        Route("/login", login.show, methods=["GET"]),
        Route("/login", login.log_in, methods=["POST"]),
        Route("/logout", login.log_out, methods=["POST"]),
        Route("/incidents/{number}/approve", _approve(context), methods=["POST"]),
    ]
    for path, view in PAGES.items():
        found.append(Route(f"/live{path}", streams.handler(view), methods=["GET"]))
        found.append(Route(path, _page(context, view), methods=["GET"]))
    return found


def _page(context: PageContext, view: View) -> Handler:
    async def page(request: Request) -> Response:
        visitor = _visitor(context, request)
        if visitor is None:
            return _to_login(request)
        session = context.access.session(request)
        page_request = _page_request(context, request, visitor, session.message if session else "")
        rendered = await view(context, page_request)
        if session:
            session.message = ""
        return _html(context, rendered, page_request)

    return page


def _page_request(
    context: PageContext, request: Request, visitor: Visitor, message: str = ""
) -> PageRequest:
    cookie = request.cookies.get(context.access.cookie, "")
    token = context.access.sessions.form_token(cookie) if cookie else ""
    return PageRequest(http=request, visitor=visitor, form_token=token, message=message)


def _html(
    context: PageContext, page: RenderedPage, request: PageRequest, status: int = 200
) -> Response:
    url = request.http.url
    text = document(
        context.cloud,
        page,
        visitor=request.visitor,
        path=quote(url.path) + (f"?{url.query}" if url.query else ""),
        form_token=request.form_token,
    )
    return HTMLResponse(text, status)


def _visitor(context: PageContext, request: Request) -> Visitor | None:
    try:
        return context.access.visitor(request)
    except WrongToken:
        raise HTTPException(401, "unknown token") from None
    except TooManyAttempts as error:
        headers = {"Retry-After": f"{error.seconds:.0f}"}
        raise HTTPException(429, str(error), headers=headers) from None


def _to_login(request: Request) -> Response:
    return RedirectResponse(f"/login?next={quote(request.url.path)}", 303)


class _Login:
    """Logging in, by name and token, and out."""

    def __init__(self, context: PageContext) -> None:
        self._context = context

    async def show(self, request: Request) -> Response:
        """Show the form. A visitor without a cookie gets one: the form is bound to it."""
        return self._form(request, request.query_params.get("next", "/"))

    async def log_in(self, request: Request) -> Response:
        """Start a session, always under a new name."""
        given = await _fields(request, "name", "token", "next", "form_token")
        access = self._context.access
        if not access.is_own_form(request, given["form_token"]):
            return self._form(request, given["next"], "The form had expired. Please try again.")
        try:
            name = access.log_in(request, given["name"], given["token"])
        except WrongToken:
            return self._form(request, given["next"], "Wrong name or token.", 403)
        except TooManyAttempts as error:
            text = f"Too many wrong tokens from your address: wait {error.seconds:.0f} seconds."
            form = self._form(request, given["next"], text, 429)
            form.headers["Retry-After"] = f"{error.seconds:.0f}"
            return form
        response = RedirectResponse(_local_path(given["next"]), 303)
        response.headers["Set-Cookie"] = access.cookie_header(name)
        return response

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        access = self._context.access
        given = await _fields(request, "form_token")
        if not access.is_own_form(request, given["form_token"]):
            raise HTTPException(403, "this form was not sent from this page")
        access.sessions.end(request.cookies.get(access.cookie, ""))
        response = RedirectResponse("/login", 303)
        response.headers["Set-Cookie"] = access.cookie_header("", seconds=0)
        return response

    def _form(self, request: Request, to: str, error: str = "", status: int = 200) -> Response:
        access, cloud = self._context.access, self._context.cloud
        cookie = request.cookies.get(access.cookie, "")
        known = cookie if 20 <= len(cookie) <= 64 else ""
        name = known or secrets.token_urlsafe(32)
        form = render(
            "login",
            to=_local_path(to),
            error=error,
            form_token=access.sessions.form_token(name),
            people=bool(cloud.watch.page.people),
        )
        page = RenderedPage(title=f"log in - {cloud.name}", parts={"login": form})
        text = document(cloud, page, visitor=None, path="/login", live=False)
        response = HTMLResponse(text, status)
        if not known:
            response.headers["Set-Cookie"] = access.cookie_header(name)
        return response


def _approve(context: PageContext) -> Handler:
    async def approve(request: Request) -> Response:
        session = context.access.session(request)  # not a token in a header: forms are for people
        if session is None:
            return _to_login(request)
        given = await _fields(request, "code", "form_token")
        if not context.access.is_own_form(request, given["form_token"]):
            raise HTTPException(403, "this form was not sent from this page")
        if not session.visitor.may_act:
            raise HTTPException(403, f"{session.visitor.name} may read, not act")
        number = request.path_params["number"]
        known = number.isascii() and number.isdigit() and len(number) < 10
        found = await context.incident(int(number)) if known else None
        if found is None or context.approve is None:
            raise HTTPException(404, "there is nothing to approve")
        code, name = given["code"].strip(), session.visitor.name
        try:
            session.message = await context.approve(found.id, code, name)
        except (BackstayError, TimeoutError) as failure:
            error = failure if isinstance(failure, BackstayError) else approval_unknown(found.id)
            page_request = _page_request(context, request, session.visitor)
            text = f"{error}. What to do: {error.remedy}"
            page = await incident_page(context, page_request, found, error=text)
            return _html(context, page, page_request, 409)
        return RedirectResponse(f"/incidents/{found.id}", 303)

    return approve


async def _fields(request: Request, *names: str) -> dict[str, str]:
    """Return a form's fields, empty if they are missing; files are refused."""
    async with request.form(max_files=0, max_fields=10) as form:
        return {
            name: value[:_LONGEST_FIELD] if isinstance(value := form.get(name, ""), str) else ""
            for name in names
        }


def _local_path(to: str) -> str:
    """Return a path of this site; ``/`` for anything that a browser may take for another site."""
    safe = to.startswith("/") and not to.startswith("//") and "\\" not in to and to.isprintable()
    return quote(to, safe="/?=&%") if safe else "/"


class _LiveStreams:
    """Pages by server-sent events. Their number is bounded: each renders a page every second.

    https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(self, context: PageContext) -> None:
        self._context = context
        self._by_owner: Counter[str] = Counter()

    def handler(self, view: View) -> Handler:
        """Return the handler that streams a page."""

        async def live(request: Request) -> Response:
            visitor = _visitor(self._context, request)
            if visitor is None:
                raise HTTPException(401, "log in")
            owners = self._owners(request, visitor)
            if not self._has_room(owners):
                raise HTTPException(503, "too many open pages", headers={"Retry-After": "30"})
            # Counted here, where it is tested, and until the response has ended, however it ends.
            self._by_owner.update(owners)
            return _CountedStream(
                self._stream(view, _page_request(self._context, request, visitor)),
                ended=lambda: self._by_owner.subtract(owners),
            )

        return live

    def _owners(self, request: Request, visitor: Visitor) -> list[str]:
        """Return what a stream is counted by: all, its person, where it comes from."""
        if visitor.name:
            return ["", f"person {visitor.name}", f"address {self._address(request)}"]
        return ["", "stranger"]

    def _address(self, request: Request) -> str:
        return network_of(request.client.host) if request.client else ""

    def _has_room(self, owners: Sequence[str]) -> bool:
        self._by_owner += Counter()  # drops those that hold none
        if self._by_owner[""] >= _MOST_STREAMS:
            return False
        people = bool(self._context.cloud.watch.page.people)
        each = _MOST_STREAMS_EACH if people else _MOST_STREAMS
        return all(self._by_owner[owner] < each for owner in owners[1:])

    async def _stream(self, view: View, request: PageRequest) -> AsyncIterator[str]:
        """Yield the parts of a page that have changed, as JSON, while the visitor may read it.

        It ends after a while, and the browser connects again, as whoever it is by then.
        """
        before: dict[str, str] = {}
        until = time.monotonic() + _STREAM_SECONDS
        yield "retry: 2000\n\n"
        async with aclosing(self._ticks()) as ticks:
            async for _ in ticks:
                if time.monotonic() > until or not self._may_read(request):
                    return
                try:
                    page = await view(self._context, request)
                except JournalError:
                    continue  # what is shown stays until the next update
                except BackstayError:
                    return
                now = {k: v for k, v in page.parts.items() if k not in page.fixed}
                changed = {k: v for k, v in now.items() if before.get(k) != v}
                before = now
                update = json.dumps({"title": page.title, "parts": changed})
                yield f"data: {update}\n\n" if changed else ": no change\n\n"

    async def _ticks(self) -> AsyncGenerator[None]:
        """Yield when the snapshot changes: at most once, at least every other interval."""
        async for _ in self._context.feed.changes(bound=INTERVAL):
            yield
            await asyncio.sleep(INTERVAL)

    def _may_read(self, request: PageRequest) -> bool:
        """Return whether the visitor's session, or token, is still valid."""
        try:
            return self._context.access.visitor(request.http) is not None
        except (WrongToken, TooManyAttempts):
            return False


class _CountedStream(StreamingResponse):
    """A live stream; ``ended`` is called once, also if it never begins."""

    def __init__(self, content: AsyncIterator[str], *, ended: Callable[[], None]) -> None:
        super().__init__(
            content, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


def _static(name: str, media_type: str, *, before: str = "") -> Handler:
    text = before + (files("backstay.watch.web") / "static" / name).read_text("utf-8")

    async def static(_request: Request) -> Response:
        return Response(text, media_type=media_type, headers=_STATIC_HEADERS)

    return static


async def failed(context: PageContext, request: Request, error: Exception) -> Response:
    """Return an error as a page."""
    status, text, remedy, headers = 500, "Internal error of the page.", "", {}
    if isinstance(error, HTTPException):
        status, text, headers = error.status_code, error.detail, dict(error.headers or {})
    elif isinstance(error, BackstayError):
        status = 404 if isinstance(error, NotThere) else 503
        text, remedy = str(error), error.remedy
    else:
        _log.error("showing %s failed", request.url.path[:200], exc_info=error)
        remedy = "see the log of the watch: journalctl -u backstay-watch"
    part = render("error", status=status, text=text, remedy=remedy)
    page = RenderedPage(title=f"{status} - {context.cloud.name}", parts={"error": part})
    html = document(context.cloud, page, visitor=None, path="", live=False)
    return HTMLResponse(html, status, headers=headers)
