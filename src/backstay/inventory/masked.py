"""cloud.yaml as it may be shown: a unified diff in which secrets are not. Pure."""

import difflib
import io
import re
from collections.abc import Iterator

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

HIDDEN = "…"
_SECRET = re.compile(r"pass(word|phrase)?$|secret|token", re.IGNORECASE)
_IN_URL = re.compile(r"(://[^\s/@:]*):[^\s/@]+@")
_IN_QUERY = re.compile(r"([?&][\w.-]+)=[^&\s'\"]+")


def masked(text: str) -> str:
    """Return a YAML text with ``…`` for each secret; empty where the text is not YAML.

    A secret is what stands under a key that is called so, also as ``{value: …}``; names of files
    and variables are none. So are a URL's password and the
    values of its query.
    """
    try:
        root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    except YAMLError:
        return ""
    # An anchored value is found once for each alias.
    places = set(_secrets(root, under=False)) if root is not None else set()
    for begins, ends in sorted(places, reverse=True):
        text = text[:begins] + HIDDEN + text[ends:]
    return _IN_QUERY.sub(rf"\1={HIDDEN}", _IN_URL.sub(rf"\1:{HIDDEN}@", text))


def difference(before: str, after: str) -> str:
    """Return what changes from one text to the other, as a unified diff without secrets."""
    lines = difflib.unified_diff(
        masked(before).splitlines(),
        masked(after).splitlines(),
        "cloud.yaml (before)",
        "cloud.yaml",
        lineterm="",
        n=1,
    )
    return "\n".join(lines)


def _secrets(node: Node, *, under: bool) -> Iterator[tuple[int, int]]:
    """Give the places of secrets; with ``under`` the node's key is named like one."""
    if isinstance(node, ScalarNode):
        if under and node.value:
            yield int(node.start_mark.index), int(node.end_mark.index)
    elif isinstance(node, SequenceNode):
        for item in node.value:
            yield from _secrets(item, under=under)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            named = str(key.value)
            inner = named == "value" if under else bool(_SECRET.search(named))
            yield from _secrets(value, under=inner)
