"""Every command that a text or a document names is parsed by the real command line.

A remedy must work when it is pasted. Texts are the string literals of src, the placeholders of
f-strings filled; documents are the README, docs, templates and what is packaged.
"""

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import pytest

from backstay.cli.main import backstay

TOP = Path(__file__).parents[2]
FILLED = "1"
"""Stands for what is only known at run time: a name, a number or a word."""
DOCUMENTS = (".md", ".html", ".yml", ".yaml", ".json", ".service", ".js", ".sh")
FOLDERS = ("docs", "packaging", "src")
# A command ends where the sentence goes on; a full stop or a comma may be part of a word.
_ENDS = re.compile(r"`|;|\||&&|\)|\(|:(?=\s|$)|[.,](?=\s|$)|\n|\"|→|—|#|<|\s{3,}|'")
_NAMED = re.compile(r"(?<![\w./:-])(?<!\[`)`?backstay (?=[a-z\[{-])")
SAMPLES = {
    "HH:MM": "02:00",
    "N": "1",
    "SECONDS": "1",
    "TIME/latest/backup": "latest",
    "FAULT": FILLED,
}


def commands_in(text: str) -> Iterator[str]:
    """Give what follows each ``backstay`` in a text, up to where the command ends."""
    for named in _NAMED.finditer(text):
        rest = text[named.end() :].replace("[HOST]...", "HOST").replace("\\\n", " ")
        rest = re.sub(r"\[([^\[\]]*)\](\.\.\.)?", r"\1", re.sub(r"\[([^\[\]]*)\]", r"\1", rest))
        yield _ENDS.split(rest.replace("|", "/"), maxsplit=1)[0].strip()


def ways_of(command: str) -> Iterator[list[str]]:
    """Give the words of each way to read a synopsis: `install|uninstall` are two commands."""
    words = [word.strip(".…") for word in command.split()]
    words = [word for word in words if word]
    choices = [
        word.split("/") if re.fullmatch(r"[a-z]+(/[a-z]+)+", word) else [word] for word in words
    ]
    for way in itertools.product(*choices):
        yield [SAMPLES.get(word, word) for word in way]


def parses(words: list[str], *, pasted: bool = True) -> str:
    """Return why a command line is not understood, empty where some beginning of it is.

    A sentence may go on behind a command; its options, and the subcommands of groups, may not be
    among what is left out. What is not to be ``pasted`` may be the name of a command alone.
    """
    least = max((at + 1 for at, word in enumerate(words) if word.startswith("-")), default=1)
    why = ""
    for length in range(len(words), least - 1, -1):
        try:
            _parse(backstay, words[:length], None)
        except click.exceptions.Exit:
            return ""  # --help
        except click.MissingParameter as error:
            if not pasted and length == len(words) and not more_than_a_name(words):
                return ""
            why = why or error.format_message()
        except click.exceptions.NoArgsIsHelpError:
            if not pasted and length == len(words):
                return ""
            why = why or "it is a group: which of its commands?"
        except click.UsageError as error:
            if f"No such command {FILLED!r}" in error.format_message():
                return ""  # which one is only known at run time
            why = why or error.format_message()
        else:
            return ""
    return why


def _parse(command: click.Command, words: list[str], parent: click.Context | None) -> None:
    """Parse as click does, and call nothing."""
    with command.make_context(command.name, list(words), parent=parent) as ctx:
        if not isinstance(command, click.Group):
            return
        left = [*ctx._protected_args, *ctx.args]
        if not left:
            return
        _, found, rest = command.resolve_command(ctx, left)
        assert found is not None
        _parse(found, rest, ctx)


def more_than_a_name(words: list[str]) -> bool:
    """Return whether more stands there than the name of a command."""
    return any(not re.fullmatch(r"[a-z]+", word) for word in words)


def texts_of(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Give the string literals of a module, f-strings filled: line, text, if a docstring."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    inner = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
        if part is not node
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and id(node) not in inner:
            yield node.lineno, filled(node), False
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner
        ):
            yield node.lineno, node.value, id(node) in docstrings


def filled(node: ast.expr) -> str:
    """Return the text of an expression inside an f-string, placeholders filled."""
    match node:
        case ast.JoinedStr():
            return "".join(filled(part) for part in node.values)
        case ast.Constant():
            return str(node.value)
        case ast.FormattedValue():
            return filled(node.value)
        case ast.IfExp():
            return filled(node.body)
        case _:
            return FILLED


def named() -> Iterable[tuple[str, str, bool]]:
    """Give where each command is named, the command, and whether it is to be pasted."""
    for file in sorted((TOP / "src").rglob("*.py")):
        where = file.relative_to(TOP)
        for number, text, docstring in texts_of(ast.parse(file.read_text())):
            for command in commands_in(text):
                yield f"{where}:{number}", command, not docstring
    documents = [
        file
        for folder in FOLDERS
        for file in sorted((TOP / folder).rglob("*"))
        if file.suffix in DOCUMENTS and file.is_file()
    ]
    for file in [*sorted(TOP.glob("*.md")), *documents]:
        where, prose = file.relative_to(TOP), file.suffix == ".md"
        for number, text in enumerate(file.read_text().splitlines(), 1):
            for command in commands_in(text):
                yield f"{where}:{number}", command, not prose and not text.startswith("#")


def test_every_command_named_in_a_text_or_document_is_understood() -> None:
    found = list(named())
    assert len(found) > 150, "the texts are not found any more"
    wrong = [
        f"{where}: backstay {' '.join(way)}: {why}"
        for where, command, pasted in found
        for way in ways_of(command)
        if (why := parses(way, pasted=pasted))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "command",
    [
        "runs resumed",
        "check --bogus",
        "backup verify",
        "backup schedule --show",
        "reboot",
        "replace controller",
        "replace --vouch controller",
        "watch --install",
        "observe",
    ],
)
def test_a_command_that_does_not_exist_or_lacks_an_argument_is_found(command: str) -> None:
    assert parses(command.split())


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("try it; then: backstay runs resume", ["runs resume"]),
        ("see `backstay runs show 7`, which shows", ["runs show 7"]),
        ("backstay: refused", []),
        ("the journal of backstay itself", ["itself"]),
        ("    backstay backup stream run [HOST]   # in this terminal", ["backup stream run HOST"]),
    ],
)
def test_where_a_command_ends(text: str, commands: list[str]) -> None:
    assert list(commands_in(text)) == commands


def every_command(
    group: click.Group = backstay, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give each command that is no group, with its names."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        else:
            yield (*path, name), command
