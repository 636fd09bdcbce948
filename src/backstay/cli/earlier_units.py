"""Command lines of units and timers that an earlier version installed: they work until reinstalled.

Those of ``backup create`` and ``runs resume`` have not changed.
"""

from collections.abc import Sequence

STREAM_COMMANDS = {"run", "install", "uninstall", "status"}
_TEXTS = {"--reason", "--ticket"}
"""Options of a reboot that take a text, which may be anything."""


def current_words(words: Sequence[str]) -> tuple[list[str], str]:
    """Return the command line as it is now, and what to do about it; empty if nothing. Pure."""
    match list(words):
        case ["watch", "--cloud", file]:
            return ["watch", "run", "--cloud", file], "backstay watch install"
        case ["backup", "stream", host, *rest] if _is_stream(host, rest):
            remedy = f"backstay backup stream install {host}"
            return ["backup", "stream", "run", host, *rest], remedy
        case ["reboot", *rest] if "--despite" in rest:
            return ["reboot", *_with_skip_gate(rest)], "give --skip-gate instead of --despite"
        case other:
            return other, ""


def _is_stream(host: str, rest: list[str]) -> bool:
    if host.startswith("-") or host in STREAM_COMMANDS:
        return False
    return not rest or (len(rest) == 2 and rest[0] == "--cloud")


def _with_skip_gate(words: Sequence[str]) -> list[str]:
    before = ["", *words]
    return [
        "--skip-gate" if word == "--despite" and previous not in _TEXTS else word
        for previous, word in zip(before, words, strict=False)
    ]
