"""What all pages are made from, and how they are drawn."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.journal.records import JournalError
from backstay.quantities import duration, exact
from backstay.watch.detect.status import SnapshotFeed
from backstay.watch.incidents.incident import Incident
from backstay.watch.incidents.store import Minute
from backstay.watch.web.access import Access
from backstay.watch.web.charts import millis
from backstay.watch.web.people import Visitor
from backstay.watch.web.reading import Reading
from backstay.watch.web.summary import label, word

Approve = Callable[[int, str, str], Awaitable[str]]
"""Approves what waits for an incident, by its code, for somebody; tells what is done then.

Raises BackstayError where the code is wrong, used, or too old.
"""

_HISTORY_FRESH = 30.0
_HISTORIES = 8


@dataclass(kw_only=True)
class PageContext:
    """What requests are answered from. Nothing here asks the cloud."""

    board: SnapshotFeed
    reading: Reading
    cloud: Cloud
    access: Access
    approve: Approve | None
    _histories: dict[tuple[str, float], tuple[float, list[Minute]]] = field(default_factory=dict)

    async def incident(self, number: int) -> Incident | None:
        """Return an incident, the newest without asking the database. Raises JournalError."""
        records = self.reading.wanted()
        known = {one.id: one for one in (*records.over, *records.open)}
        return known.get(number) or await self.reading.ask(
            lambda: self.reading.store.incident(number)
        )

    async def history(self, subject: str, seconds: float) -> list[Minute]:
        """Return how a subject answered in the last seconds. Raises JournalError."""
        key, now = (subject, seconds), time.time()
        at, known = self._histories.get(key, (0.0, []))
        if now - at < _HISTORY_FRESH:
            return known
        since = now - seconds
        found = await self.reading.ask(
            lambda: self.reading.store.history(since=since, subject=subject)
        )
        if len(self._histories) >= _HISTORIES:
            self._histories.clear()
        self._histories[key] = (now, found)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A page: its title and its parts, by their names, in order, as HTML.

    Parts named in ``still`` are not sent again: they are of this one request.
    """

    title: str
    parts: Mapping[str, str]
    still: frozenset[str] = frozenset()


class NotThere(BackstayError):
    """There is nothing of that name to show."""


def not_there(what: str, back: str = "see the list of them") -> NotThere:
    """Return the error for something that is not there."""
    return NotThere(f"looking for {what}", came_back="there is none of that name", remedy=back)


def not_answered(incident: int) -> BackstayError:
    """Return the error for an approval of which nobody knows whether it was noted."""
    return JournalError(
        f"approving what waits for incident {incident}",
        came_back="the journal did not answer in time: perhaps it is approved, perhaps not",
        remedy="see whether the run begins, before you try again: backstay runs list",
    )


_ENVIRONMENT = Environment(
    loader=PackageLoader("backstay.watch.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def compile_all() -> None:
    """Read every template now: the first page that somebody needs is as quick as the next."""
    for name in _ENVIRONMENT.list_templates():
        _ENVIRONMENT.get_template(name)


def draw(template: str, **values: Any) -> str:  # noqa: ANN401 - whatever a template shows
    """Return a template of this package, filled in."""
    return _ENVIRONMENT.get_template(f"{template}.html").render(values)


def frame(
    desk: PageContext,
    shown: Shown,
    *,
    visitor: Visitor | None,
    path: str,
    form_token: str = "",
    live: bool = True,
) -> str:
    """Return a whole page. ``form_token`` is what its forms carry."""
    return draw(
        "frame",
        shown=shown,
        cloud=desk.cloud.name,
        visitor=visitor,
        path=path,
        live=live,
        form_token=form_token,
        people=bool(desk.cloud.watch.page.people),
        now=time.time(),
    )


def clock(at: float | None, *, form: str = "") -> Markup:
    """Return an instant as a reader needs it: of today the time, else with its day."""
    if at is None:
        return Markup("-")
    told = datetime.fromtimestamp(at).astimezone()
    today = told.date() == datetime.now().astimezone().date()
    text = told.strftime(form or ("%H:%M:%S" if today else "%a %d %b %H:%M"))
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        told.isoformat(timespec="seconds"), told.strftime("%Y-%m-%d %H:%M:%S %Z"), text
    )


_COMMAND = re.compile(r"\b(?:backstay|systemctl|journalctl|openstack|ssh) [^;,()]*[^;,() ]")


def remedy(text: str) -> Markup:
    """Return what to do, the commands in it as such."""
    told, at = Markup(""), 0
    for command in _COMMAND.finditer(text):
        told += text[at : command.start()] + Markup("<code>{}</code>").format(command[0])
        at = command.end()
    return told + text[at:]


_ENVIRONMENT.filters |= {
    "remedy": remedy,
    "clock": clock,
    "duration": duration,
    "exact": exact,
    "millis": millis,
    "word": word,
    "label": label,
    "svg": Markup,
}
