"""Hooks: commands and URLs of the site's own."""

import asyncio
import json
import os
import shlex
from collections.abc import Mapping
from typing import Any

import requests

from backstay.errors import HookFailed
from backstay.transports.programs import kill_session
from backstay.transports.threads import on_thread

_LONGEST = 300


async def call_command(command: str, facts: Mapping[str, str], *, bound: float) -> str:
    """Run a command line by the shell, with ``facts`` as variables; return its last line.

    Raises HookFailed where its exit status is not 0, or where it has not ended after ``bound``
    seconds (it is then ended, with all that it started).
    """
    variables = {f"BACKSTAY_{name.upper()}": value for name, value in facts.items()}
    shown = shlex.split(command)[0] if command.strip() else command
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
            output, _ = await process.communicate()
    except TimeoutError:
        raise _failed(shown, f"it did not end within {bound:g} s") from None
    finally:
        await kill_session(process)
    last_line = _last_line(output.decode(errors="replace"))
    if process.returncode != 0:
        raise _failed(
            shown, f"exit status {process.returncode}: {last_line or 'it printed nothing'}"
        )
    return last_line


async def call_url(url: str, facts: Mapping[str, Any], *, bound: float) -> str:
    """POST ``facts`` as JSON and return the last line of the answer.

    Raises HookFailed for a status of 400 or more, and where none comes within ``bound`` seconds.
    """

    def post() -> requests.Response:
        return requests.post(
            url,
            data=json.dumps(facts),
            headers={"Content-Type": "application/json"},
            timeout=bound,
        )

    place = url.partition("?")[0]  # what follows may hold a secret
    try:
        answer = await on_thread(post, bound)
    except TimeoutError:
        raise _failed(place, f"no answer within {bound:g} s") from None
    except requests.RequestException as error:
        raise _failed(place, f"cannot be reached ({type(error).__name__})") from None
    last_line = _last_line(answer.text)
    if answer.status_code >= 400:
        raise _failed(place, f"status {answer.status_code}: {last_line or 'it printed nothing'}")
    return last_line


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_LONGEST] if lines else ""


def _failed(what: str, came_back: str) -> HookFailed:
    return HookFailed(
        f"calling the hook {what}",
        came_back=came_back,
        remedy="fix what it reports, or remove it from `hooks` under `maintenance` in cloud.yaml",
    )
