"""Hooks: commands and URLs of the site's own."""

import asyncio
import json
import os
import re
import shlex
from collections.abc import Mapping
from itertools import dropwhile
from typing import Any

from backstay.answers import clean
from backstay.errors import HookFailed
from backstay.ownership import NotTrusted, check_command
from backstay.transports import limits
from backstay.transports.program_output import tail
from backstay.transports.programs import kill_session
from backstay.transports.threads import on_thread
from backstay.transports.urls import without_secrets

_LONGEST = 300
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


async def call_command(command: str, facts: Mapping[str, str], *, bound: float) -> str:
    """Run a command line by the shell, with ``facts`` as variables; return its last line.

    Raises HookFailed where its exit status is not 0, or where it has not ended after ``bound``
    seconds (it is then ended, with all that it started).
    """
    variables = {f"BACKSTAY_{name.upper()}": value for name, value in facts.items()}
    words = _words(command)
    shown = words[0] if words else "command"
    try:
        check_command(words)
    except NotTrusted as error:
        raise HookFailed(
            f"calling the hook {shown}", came_back=str(error), remedy=error.remedy
        ) from error
    process = await asyncio.create_subprocess_shell(
        command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | variables,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(bound):
            assert process.stdout is not None  # noqa: S101 - it was asked for
            output = await tail(process.stdout)
            await process.wait()
    except TimeoutError:
        raise _unclear(shown, f"it did not end within {bound:g} s") from None
    finally:
        await kill_session(process)
    last_line = _last_line(output)
    if process.returncode != 0:
        raise _failed(
            shown, f"exit status {process.returncode}: {last_line or 'it printed nothing'}"
        )
    return last_line


async def call_url(url: str, facts: Mapping[str, Any], *, bound: float) -> str:
    """POST ``facts`` as JSON and return the last line of the answer.

    Raises HookFailed for a status of 400 or more, where none comes within ``bound`` seconds, and
    where it redirects to another server. Of the URL only the host is shown: the rest often holds a
    secret.
    """
    import requests  # noqa: PLC0415 - takes its time

    from backstay.transports.bounded_http import AnswerTooLong, LedElsewhere, session  # noqa: PLC0415

    def post() -> requests.Response:
        with session() as http:
            return http.post(
                url,
                data=json.dumps(facts),
                headers={"Content-Type": "application/json"},
                timeout=bound,
            )

    place = without_secrets(url)
    try:
        answer = await on_thread(post, bound)
    except TimeoutError:
        raise _unclear(place, f"no answer within {bound:g} s") from None
    except (AnswerTooLong, LedElsewhere) as error:
        raise _unclear(place, str(error)) from None
    except requests.ConnectTimeout as error:
        raise _failed(place, f"cannot be reached ({type(error).__name__})") from None
    except (requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise _unclear(place, f"no whole answer ({type(error).__name__})") from None
    except requests.ConnectionError as error:
        if "NewConnectionError" in str(error) or "SSLError" in str(error):
            raise _failed(place, f"cannot be reached ({type(error).__name__})") from None
        raise _unclear(place, f"it ended the connection ({type(error).__name__})") from None
    except (requests.RequestException, OSError, ValueError) as error:
        raise _failed(place, f"cannot be reached ({type(error).__name__})") from None
    last_line = _last_line(answer.content)
    if answer.status_code >= 400:
        raise _failed(place, f"status {answer.status_code}: {last_line or 'it printed nothing'}")
    return last_line


def _words(command: str) -> list[str]:
    """Return a command line's words from its program on: what stands before may be a secret."""
    try:
        words = shlex.split(command)
    except ValueError:  # a quote that is left open: the shell says so
        return []
    return list(dropwhile(_ASSIGNMENT.match, words))


def _last_line(output: bytes) -> str:
    """Return the last line that is not empty, of the end of what came."""
    text = output[-limits.ERRORS :].decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return clean(lines[-1], longest=_LONGEST) if lines else ""


def _unclear(what: str, came_back: str) -> HookFailed:
    """Return the error for a hook that was called, and may have done what it is for."""
    return _failed(what, f"{came_back}: it may have done its part all the same", unclear=True)


def _failed(what: str, came_back: str, *, unclear: bool = False) -> HookFailed:
    return HookFailed(
        f"calling the hook {what}",
        came_back=came_back,
        unclear=unclear,
        remedy="fix what it reports, or remove it from `hooks` under `maintenance` in cloud.yaml",
    )
