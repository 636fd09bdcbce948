"""A YAML file as plain values that remember their lines."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from backstay.errors import InventoryError

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


def read_document(path: Path) -> Document:
    """Read ``path`` as YAML 1.2.

    Raises InventoryError where it cannot be read, or is not YAML (with the line).
    """
    text = _text(path)
    yaml = YAML(typ="safe", pure=True)
    # Reported with everything else that is wrong, instead of ending the reading.
    yaml.allow_duplicate_keys = True
    try:
        node = yaml.compose(io.StringIO(text))
        lines, duplicates = _walk(node)  # before construction, which unfolds merge keys in place
        # An empty file is an empty mapping: what it lacks is then reported by name.
        data = {} if node is None else yaml.constructor.construct_document(node)
    except YAMLError as error:
        raise _not_yaml(path, error) from error
    return Document(path=path, data=data, lines=lines, duplicates=duplicates)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InventoryError(
            f"reading {path}",
            came_back=error.strerror or str(error),
            remedy="check that the file exists and that you may read it, or name another",
        ) from error
    except UnicodeDecodeError as error:
        raise InventoryError(
            f"reading {path}",
            came_back=f"byte {error.start} is not UTF-8 text",
            remedy="save the file as UTF-8",
        ) from error


def _not_yaml(path: Path, error: YAMLError) -> InventoryError:
    line, problem = 1, " ".join(str(error).split())
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = ", ".join(part for part in (error.context, error.problem) if part)
    return InventoryError(
        f"reading {path}",
        came_back=f"{path}:{line}: not YAML: {problem}",
        remedy="correct this line (a missing space after `:`, a tab, or a quote left open?)",
    )


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
