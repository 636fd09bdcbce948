"""A YAML file as plain values that remember their lines, within bounds."""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.tag import Tag

from backstay.answers import clean
from backstay.errors import InventoryError
from backstay.ownership import NotTrusted, TooLong, read_own

Place = tuple[str | int, ...]
"""Keys and list positions from the top of the document to one value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """``data`` is what the file holds; ``lines`` has the line (from 1) of each place in it.

    ``duplicates`` are the places of keys that a mapping has twice, with the line of the second.
    """

    path: Path
    data: Any
    lines: dict[Place, int]
    duplicates: Sequence[tuple[Place, int]]

    def line(self, place: Place) -> int:
        """Return the line of ``place``, or of the nearest thing around it that has one."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


LONGEST = 1 << 20
"""Bytes of a file; a cloud of two thousand hosts has about 400,000."""
MOST_NODES = 100_000
"""Values of a document, where each alias counts as what it stands for."""
DEEPEST = 40
_LONGEST_NUMBER = 40


def read_document(path: Path, *, version: tuple[int, int] = (1, 2)) -> Document:
    """Read ``path`` as YAML, 1.2 or as another program has it.

    Raises InventoryError where it cannot be read, is not YAML (with the line), is larger than any
    such file, or where others than this user and root could have changed it.
    """
    return parse(path, read_text(path), version=version)


def parse(path: Path, text: str, *, version: tuple[int, int] = (1, 2)) -> Document:
    """Return what a text holds; ``path`` is named in errors. Raises InventoryError."""
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    yaml.Composer = _Composer
    # Reported with everything else that is wrong, instead of ending the reading.
    yaml.allow_duplicate_keys = True
    try:
        node = yaml.compose(io.StringIO(text))
        _bound(path, node)
        if version == (1, 1):
            _as_pyyaml(node)
        lines, duplicates = _walk(node)  # before construction, which unfolds merge keys in place
        # An empty file is an empty mapping: what it lacks is then reported by name.
        data = {} if node is None else yaml.constructor.construct_document(node)
    except YAMLError as error:
        raise _not_yaml(path, error) from error
    except InventoryError:
        raise
    except RecursionError as error:
        raise _wrong(path, 1, "it is nested too deep") from error
    except Exception as error:  # of the library: a date with a month 13 is a ValueError, say
        what = _without_values(clean(str(error), longest=200))
        raise _wrong(path, 1, f"it holds a value that cannot be read ({what})") from error
    return Document(path=path, data=data, lines=lines, duplicates=duplicates)


def read_text(path: Path) -> str:
    """Return the text of a file that only this user and root may change. Raises InventoryError."""
    attempted = f"reading {path}"
    try:
        return read_own(path, most=LONGEST).decode("utf-8-sig")
    except NotTrusted as error:
        raise InventoryError(attempted, came_back=str(error), remedy=error.remedy) from error
    except TooLong as error:
        remedy = "name the right file: no description of a cloud is so long"
        raise InventoryError(attempted, came_back=str(error), remedy=remedy) from error
    except UnicodeDecodeError as error:
        raise InventoryError(
            attempted,
            came_back=f"byte {error.start} is not UTF-8 text",
            remedy="save the file as UTF-8",
        ) from error
    except (OSError, ValueError) as error:
        raise InventoryError(
            attempted,
            came_back=getattr(error, "strerror", None) or str(error),
            remedy="check that the file exists and that you may read it, or name another",
        ) from error


class _Composer(Composer):
    """Makes nodes, and no deeper than is allowed: beyond that the parser's time grows quadratic."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401 - as ruamel has it
        self._depth += 1
        if self._depth > DEEPEST + 1:
            raise MarkedYAMLError(
                problem=f"it is nested deeper than {DEEPEST} levels",
                problem_mark=self.parser.peek_event().start_mark,
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _wrong(path: Path, line: int, what: str) -> InventoryError:
    return InventoryError(
        f"reading {path}", came_back=f"{path}:{line}: {what}", remedy="correct this file"
    )


def _bound(path: Path, root: Node | None) -> None:
    """Raise InventoryError for a document that unfolds into too much, or holds itself.

    An alias is the node of its anchor: ten lines can stand for a thousand million values.
    """
    left = MOST_NODES
    pending = [] if root is None else [(root, 0)]
    while pending:
        node, depth = pending.pop()
        left -= 1
        line = node.start_mark.line + 1
        if left < 0:
            raise _wrong(path, line, f"it holds more than {MOST_NODES} values, with all aliases")
        if depth > DEEPEST:
            raise _wrong(path, line, f"it is nested deeper than {DEEPEST} levels, or holds itself")
        if isinstance(node, MappingNode):
            pending += [(one, depth + 1) for pair in node.value for one in pair]
        elif isinstance(node, SequenceNode):
            pending += [(one, depth + 1) for one in node.value]
        elif node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise _wrong(path, line, f"a number has {len(node.value)} digits")


def _as_pyyaml(root: Node | None) -> None:
    """Make texts of the plain values that PyYAML, unlike YAML 1.1, takes for texts: y, 1e3."""
    pending = [] if root is None else [root]
    seen: set[int] = set()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, MappingNode):
            pending += [one for pair in node.value for one in pair]
        elif isinstance(node, SequenceNode):
            pending += node.value
        elif (form := _PYYAML.get(node.tag or "")) is not None and not form.fullmatch(node.value):
            node.ctag = Tag(suffix="tag:yaml.org,2002:str")


_PYYAML = {
    "tag:yaml.org,2002:bool": re.compile("yes|no|true|false|on|off", re.IGNORECASE),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?"
        r"|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}
# https://github.com/yaml/pyyaml/blob/main/lib/yaml/resolver.py
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}


def _not_yaml(path: Path, error: YAMLError) -> InventoryError:
    line, problem = 1, " ".join(str(error).split())
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = ", ".join(part for part in (error.context, error.problem) if part)
    problem = _without_values(problem)
    return InventoryError(
        f"reading {path}",
        came_back=f"{path}:{line}: not YAML: {problem}",
        remedy="correct this line (a missing space after `:`, a tab, a quote left open, or a value "
        "that begins with one of * & ! % @ ` and has no quotes?)",
    )


def _without_values(problem: str) -> str:
    """Return what a library says of a text without the parts of it: a password may be one.

    One that begins with ``*`` is an alias to it, with ``!`` a tag. Single characters stay.
    """

    def shown(found: re.Match[str]) -> str:
        return found[0] if len(found[2]) < _FEW or found[2].startswith("<") else "…"

    return _QUOTED.sub(shown, problem)


_FEW = 2
_QUOTED = re.compile(r"(['\"`])(.*?)(?:\1|$)", re.DOTALL)


def _walk(root: Node | None) -> tuple[dict[Place, int], list[tuple[Place, int]]]:
    lines: dict[Place, int] = {}
    duplicates: list[tuple[Place, int]] = []
    pending: list[tuple[Place, Node]] = [] if root is None else [((), root)]
    while pending:
        place, node = pending.pop()
        for step, line, child in _children(node):
            inner = (*place, step)
            if inner in lines:
                duplicates.append((inner, line))
            else:
                lines[inner] = line
                pending.append((inner, child))
    return lines, duplicates


def _children(node: Node) -> Iterator[tuple[str | int, int, Node]]:
    """Give each child's step, line and node; the line of a mapping's child is that of its key."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield str(key.value), key.start_mark.line + 1, value
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield index, item.start_mark.line + 1, item
