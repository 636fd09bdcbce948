"""No text of src puts a word of others into a command line: backstay.commands does, quoted."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).parents[2] / "src" / "backstay"
PROGRAMS = (
    "openstack",
    "virsh",
    "rabbitmqctl",
    "nova-manage",
    "cinder manage",
    "qemu-img",
    "openssl",
    "mariadb",
    "sed",
    "echo",
    "du",
    "rm",
    "mv",
    "kill",
)
_CALLED = re.compile(rf"(?:^|[\s:;|(\"'}}])(?:{'|'.join(PROGRAMS)}) [^;:()|\n]*$")
QUOTING = frozenset(("command", "on_host", "quoted", "into", "literal", "again"))


def is_quoted(value: ast.expr) -> bool:
    """Return whether it is a call of backstay.commands."""
    if not isinstance(value, ast.Call):
        return False
    name = value.func.attr if isinstance(value.func, ast.Attribute) else value.func
    return (name.id if isinstance(name, ast.Name) else name) in QUOTING


def unquoted(source: str) -> Iterator[str]:
    """Give each f-string in which a word follows a program's name unquoted."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        before = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                before += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                if _CALLED.search(before) and not is_quoted(part.value):
                    yield ast.unparse(node)
                before += "X"


def test_words_of_others_are_quoted() -> None:
    found = [
        f"{path.relative_to(SRC)}: {text}"
        for path in sorted(SRC.rglob("*.py"))
        if "onhost" not in path.name
        for text in unquoted(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_it_finds_what_it_looks_for() -> None:
    assert list(unquoted('f"{{ssh}} virsh dumpxml {guest}"'))
    assert list(unquoted('f"look: openstack server show {one.id}; then"'))
    assert not list(unquoted('f"{command(a, b)} </dev/null"'))
    assert not list(unquoted('f"du -xh {quoted(mount)} | sort"'))
    assert not list(unquoted('f"compare with openstack catalog list; {place}"'))
