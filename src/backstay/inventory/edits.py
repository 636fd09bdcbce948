"""Changes of a YAML text at the places of its nodes: the rest stays as a person wrote it.

What is changed is seen only when the text is read again: whoever uses this compares then.
"""

import textwrap
from dataclasses import dataclass

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_STEP = "  "


@dataclass(frozen=True, slots=True)
class Source:
    """How a value is written: on the line of its key, or as lines below it, not indented."""

    inline: str = ""
    block: str = ""

    def entry(self, key: str) -> str:
        """Return the value with its key, as lines that are not indented."""
        if self.block:
            return f"{key}:\n{textwrap.indent(self.block, _STEP)}"
        return f"{key}: {self.inline}"

    @classmethod
    def of(cls, lines: list[str], *, flow: bool) -> "Source":
        """Return a mapping of these entries. A flow mapping takes entries that are inline."""
        return cls(inline=f"{{{', '.join(lines)}}}") if flow else cls(block="\n".join(lines))

    @classmethod
    def nested(cls, key: str, lines: list[str], *, flow: bool) -> "Source":
        """Return a mapping with one entry, that is a mapping."""
        return cls.of([cls.of(lines, flow=flow).entry(key)], flow=flow)


class Edits:
    """Changes of a text at places of its nodes; collected first, for they move what follows."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._changes: list[tuple[int, int, str]] = []

    def text(self) -> str:
        """Return the text with all changes made."""
        text = self._text
        for begins, ends, new in sorted(self._changes, key=lambda one: one[:2], reverse=True):
            text = text[:begins] + new + text[ends:]
        return text

    def source(self, mapping: Node | None, key: str) -> Source:
        """Return how the value of a key is written."""
        name, value = self._pair(mapping, key)
        if _is_block(value):
            begins = self._line_start(value.start_mark.index)
            lines = self._text[begins : self._line_end(_content_end(value))]
            return Source(block=textwrap.dedent(lines).rstrip("\n"))
        after = self._text.index(":", name.end_mark.index) + 1
        ends = _content_end(value)
        if ends < after:  # an alias: its node is where the anchor is
            ends = self._alias_end(after)
        return Source(inline=self._text[after:ends].strip())

    def replace(self, mapping: Node | None, key: str, new: Source) -> None:
        """Write another value in the place of a key's."""
        name, value = self._pair(mapping, key)
        begins = self._text.index(":", name.end_mark.index) + 1
        ends = _content_end(value)
        if ends < begins:
            ends = self._alias_end(begins) if self._text[begins:].lstrip(" ")[:1] == "*" else begins
        indent = " " * name.start_mark.column
        self._changes.append((begins, ends, self._written(new, indent)))

    def append(self, mapping: Node | None, key: str, new: Source, after: str | None = None) -> None:
        """Add an entry behind another one, the last if none is named."""
        assert isinstance(mapping, MappingNode)  # noqa: S101 - asked by the caller
        before = next(
            (pair for pair in mapping.value if after is None or pair[0].value == after),
            None,
        )
        if after is None and mapping.value:
            before = mapping.value[-1]
        assert before is not None  # noqa: S101 - hosts have an address at least
        name, value = before
        at = max(_content_end(value), name.end_mark.index)
        if mapping.flow_style:
            self._changes.append((at, at, f", {new.entry(key)}"))
            return
        indent = " " * name.start_mark.column
        at = self._own_comments_end(self._line_end(at), name.start_mark.column)
        begins = "" if at == 0 or self._text[at - 1] == "\n" else "\n"
        self._changes.append((at, at, f"{begins}{textwrap.indent(new.entry(key), indent)}\n"))

    def remove(self, mapping: Node | None, key: str) -> None:
        """Take an entry away, with the comments that are indented deeper than its key."""
        assert isinstance(mapping, MappingNode)  # noqa: S101 - asked by the caller
        name, value = self._pair(mapping, key)
        ends = max(_content_end(value), name.end_mark.index)
        if mapping.flow_style:
            self._remove_from_flow(mapping, key, ends)
            return
        begins = self._line_start(name.start_mark.index)
        ends = self._own_comments_end(self._line_end(ends), name.start_mark.column)
        self._changes.append((begins, ends, ""))

    def drop_item(self, sequence: Node | None, item: str) -> None:
        """Take an item out of a list of words: what is left is written on one line."""
        if not isinstance(sequence, SequenceNode) or not sequence.flow_style:
            return  # found out when the text is read again
        left = [str(one.value) for one in sequence.value if one.value != item]
        self._changes.append(
            (sequence.start_mark.index, sequence.end_mark.index, f"[{', '.join(left)}]")
        )

    def _remove_from_flow(self, mapping: MappingNode, key: str, ends: int) -> None:
        pairs = mapping.value
        number = next(i for i, (name, _) in enumerate(pairs) if name.value == key)
        if number:
            name, value = pairs[number - 1]
            begins = max(_content_end(value), name.end_mark.index)
        else:
            begins = pairs[0][0].start_mark.index
            ends = pairs[1][0].start_mark.index if len(pairs) > 1 else ends
        self._changes.append((begins, ends, ""))

    def _written(self, new: Source, indent: str) -> str:
        """Return a value as it stands behind the colon of a key with this indentation."""
        return (
            f" {new.inline}" if not new.block else "\n" + textwrap.indent(new.block, indent + _STEP)
        )

    def _pair(self, mapping: Node | None, key: str) -> tuple[ScalarNode, Node]:
        assert isinstance(mapping, MappingNode)  # noqa: S101 - asked by the caller
        found: tuple[ScalarNode, Node] = next(
            pair for pair in mapping.value if str(pair[0].value) == key
        )
        return found

    def _alias_end(self, begins: int) -> int:
        """Return where the alias that is written from ``begins`` on ends."""
        at = begins
        while at < len(self._text) and self._text[at] == " ":
            at += 1
        while at < len(self._text) and self._text[at] not in " \n,}]":
            at += 1
        return at

    def _line_start(self, at: int) -> int:
        return self._text.rfind("\n", 0, at) + 1

    def _line_end(self, at: int) -> int:
        """Return where the next line begins."""
        found = self._text.find("\n", at)
        return len(self._text) if found < 0 else found + 1

    def _own_comments_end(self, at: int, column: int) -> int:
        """Return where the comments end that belong to an entry at ``column``: deeper than it."""
        while at < len(self._text):
            ends = self._line_end(at)
            line = self._text[at:ends]
            if not line.lstrip().startswith("#") or len(line) - len(line.lstrip()) <= column:
                return at
            at = ends
        return at


def _is_block(node: Node) -> bool:
    return isinstance(node, MappingNode | SequenceNode) and not node.flow_style


def _content_end(node: Node) -> int:
    """Return where a node's last character is: a block's own mark is where the next thing begins.

    A value that is an alias has its marks at the anchor, before its key.
    """
    if not isinstance(node, MappingNode | SequenceNode) or node.flow_style:
        return int(node.end_mark.index)
    children = node.value
    if isinstance(node, MappingNode):
        children = [one for pair in node.value for one in pair]
    return max((_content_end(child) for child in children), default=int(node.start_mark.index))
