"""Messages by apprise: https://github.com/caronc/apprise. Its addresses hold secrets.

This module imports apprise only where something is sent: that takes its time.
"""

import logging
import re
from urllib.parse import unquote

from backstay.errors import ChannelFailed
from backstay.transports.apprise_http import bound_services, sent_by_http
from backstay.transports.threads import on_thread

_LONGEST = 300
_IMPORT_BOUND = 30.0  # seconds to read apprise from a slow disk, once
_PARTS = re.compile(r"[/:@?&=#,+\s]+")
# What apprise logs may hold the address in parts: it is read from its results, and goes nowhere.
logging.getLogger("apprise").propagate = False


async def send_apprise(address: str, *, title: str, text: str, bound: float) -> None:
    """Send a message in plain text to one of apprise's addresses.

    Raises ChannelFailed where it is not taken, or not within ``bound`` seconds. Of the address only
    the kind (the part before ``://``) is shown.
    """
    kind = address.partition("://")[0] if "://" in address else "?"
    try:
        await load_apprise()
        problem = await on_thread(lambda: _send(address, title, text, bound), bound)
    except TimeoutError:
        problem = f"no answer within {bound:g} s"
    if problem:
        raise ChannelFailed(
            f"sending a message by apprise's {kind}",
            came_back=without(address, problem)[:_LONGEST],
            remedy=f"check the address: https://appriseit.com/services/ has the form of {kind}",
        )


async def load_apprise() -> None:
    """Read apprise's code. Raises TimeoutError."""
    await on_thread(_load, _IMPORT_BOUND)


def without(address: str, text: str) -> str:
    """Return ``text`` without any part of an address that may be a secret (all but its kind)."""
    kind, _, rest = address.partition("://")
    parts = {part for one in (rest, unquote(rest)) for part in _PARTS.split(one) if len(part) > 2}
    text = re.sub(r"\b\w+://\S+", f"{kind}://…", text)
    for part in sorted(parts, key=len, reverse=True):
        text = re.sub(re.escape(part), "…", text, flags=re.IGNORECASE)
    return " ".join(text.split())


def _load() -> None:
    from apprise.apprise import N_MGR  # noqa: PLC0415 - takes a second

    N_MGR.load_modules()  # type: ignore[no-untyped-call]
    bound_services()


def _send(address: str, title: str, text: str, bound: float) -> str:
    """Return why it was not sent, empty where it was."""
    import apprise  # noqa: PLC0415 - see above

    # In memory: apprise would keep what it sent in files of the operator's home.
    # A redirected POST becomes a GET: it would look received.
    asset = apprise.AppriseAsset(
        app_id="backstay", app_desc="Backstay", storage_mode="memory", http_redirects=False
    )
    service = apprise.Apprise(asset=asset)
    try:
        if "://" not in address or not service.add(address):
            return "apprise cannot read the address"
        with sent_by_http() as by_http:
            sent = service.notify(
                title=title, body=text, body_format=apprise.NotifyFormat.TEXT, timeout=bound
            )
    except Exception as error:  # more than a hundred plugins, whatever they raise
        return type(error).__name__
    messages = [entry.message for entry in sent.logs()] + by_http.problems[:1]
    return "" if sent else (messages[-1] if messages else "it was not accepted")
