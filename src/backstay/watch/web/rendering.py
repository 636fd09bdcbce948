"""How pages are drawn: templates, their filters, and the frame around every page."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from backstay.inventory.cloud import Cloud
from backstay.quantities import duration, exact
from backstay.watch.web.access import Visitor
from backstay.watch.web.charts import millis
from backstay.watch.web.summary import label


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPage:
    """A page: its title and its parts as HTML, by their ids, in order.

    Parts named in ``fixed`` belong to this one request: live updates leave them alone.
    """

    title: str
    parts: Mapping[str, str]
    fixed: frozenset[str] = frozenset()


_ENVIRONMENT = Environment(
    loader=PackageLoader("backstay.watch.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def compile_templates() -> None:
    """Compile every template now, so that the first request is as quick as the next."""
    for name in _ENVIRONMENT.list_templates():
        _ENVIRONMENT.get_template(name)


def render(template: str, **values: Any) -> str:  # noqa: ANN401 - whatever a template shows
    """Return a template of this package, filled in."""
    return _ENVIRONMENT.get_template(f"{template}.html").render(values)


def document(
    cloud: Cloud,
    page: RenderedPage,
    *,
    visitor: Visitor | None,
    path: str,
    form_token: str = "",
    live: bool = True,
) -> str:
    """Return the whole HTML document of a page. ``form_token`` is what its forms carry."""
    return render(
        "layout",
        page=page,
        cloud=cloud.name,
        visitor=visitor,
        path=path,
        live=live,
        form_token=form_token,
        people=bool(cloud.watch.page.people),
        now=time.time(),
    )


def clock(at: float | None, *, form: str = "", seconds: bool = False) -> Markup:
    """Return an instant in local time: today the time of day, else date, hour and minute.

    ``seconds`` shows them of any day, ``form`` is another format.
    """
    if at is None:
        return Markup("-")
    local = datetime.fromtimestamp(at).astimezone()
    today = local.date() == datetime.now().astimezone().date()
    dated = "%a %d %b %H:%M:%S" if seconds else "%a %d %b %H:%M"
    text = local.strftime(form or ("%H:%M:%S" if today else dated))
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        local.isoformat(timespec="seconds"), local.strftime("%Y-%m-%d %H:%M:%S %Z"), text
    )


_COMMAND = re.compile(r"\b(?:backstay|systemctl|journalctl|openstack|ssh) [^;,()]*[^;,() ]")


def remedy(text: str) -> Markup:
    """Return a remedy with the commands in it marked up as such."""
    html, at = Markup(""), 0
    for command in _COMMAND.finditer(text):
        html += text[at : command.start()] + Markup("<code>{}</code>").format(command[0])
        at = command.end()
    return html + text[at:]


_ENVIRONMENT.filters |= {
    "remedy": remedy,
    "clock": clock,
    "duration": duration,
    "exact": exact,
    "millis": millis,
    "label": label,
    "svg": Markup,
}
