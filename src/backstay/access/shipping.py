"""Turning functions of Backstay's own modules into a text that a host's python3 can run.

Taken along is what a function uses of its module: other functions, constants, imports of the
standard library, functions of other modules of Backstay's. Annotations and docstrings stay behind,
so that modules may be typed as today while hosts may have Python 3.6.
"""

import ast
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

from backstay.access import onhost, onhost_lease
from backstay.answers import MOST_BYTES, BadAnswer, TooLarge, clean, read
from backstay.errors import AnswerTooLong, RemoteFailure
from backstay.jsondata import Json
from backstay.transports.targets import Answer

T = TypeVar("T")


Lease = Mapping[str, Any] | None
"""Under what a function works on a host (``onhost_lease.hold_lease``); None where it needs none."""


def program(function: Callable[..., Json], *arguments: Json, lease: Lease = None) -> str:
    """Return a Python program for ``python3 -I -`` that calls one function as root.

    It prints what the function returns as JSON. ``function`` is shipped as a probe's ``ask`` is;
    ``arguments`` are JSON data without secrets.
    """
    return _calling(onhost.print_as_root, function, arguments, lease)


def stream(function: Callable[..., Json], *arguments: Json, lease: Lease = None) -> str:
    """Return a Python program that calls one function as root, whose output is what it writes.

    Otherwise as ``program``; an exception ends it with exit status 1 and the error as last line.
    """
    return _calling(onhost.as_root, function, arguments, lease)


def reading(function: Callable[..., Json], *arguments: Json, lease: Lease = None) -> str:
    """Return a Python program for ``python3 -I -c`` that calls one function as root.

    The function reads standard input. Otherwise as ``stream``.
    """
    return _calling(onhost.reading_as_root, function, arguments, lease)


def _calling(
    runner: Callable[..., None],
    function: Callable[..., Any],
    arguments: Sequence[Any],
    lease: Lease,
) -> str:
    """Return a program in which ``runner``, one of ``onhost``, calls the function as root."""
    given = json.dumps(json.dumps(arguments))
    text = f"import json\n{source_of(runner)}\n{source_of(function)}\nGIVEN = {given}\n"
    _refuse_doubles(text)
    call = f"lambda: {function.__name__}(*json.loads(GIVEN))"
    if lease is not None:
        # In a namespace of its own: its names may be those of the function's module.
        guard = source_of(onhost_lease.under_lease)
        text += f"GUARD = {{}}\nexec({guard!r}, GUARD)\nLEASE = {json.dumps(json.dumps(lease))}\n"
        call = f"lambda: GUARD['under_lease'](json.loads(LEASE), {call})"
    # The program holds its own text, so that another user's login can hand it on to sudo.
    handed_on = f"{text}{runner.__name__}({call}, '')\n"
    return f"{text}{runner.__name__}({call}, {handed_on!r})\n"


def as_answer(kind: type[T], answer: Answer, *, host: str, most: int = MOST_BYTES) -> T:
    """Return what a program on ``host`` printed, read as ``kind`` (see ``answers.read``).

    Raises RemoteFailure.
    """
    try:
        return read(kind, answer.stdout, most=most)
    except BadAnswer as error:
        raise not_answers(answer, host, error) from error


def as_json(answer: Answer, *, host: str) -> Json:
    """Return the decoded JSON that a program on ``host`` printed. Raises RemoteFailure."""
    untyped: type[Json] = Any
    return as_answer(untyped, answer, host=host)


def not_answers(answer: Answer, host: str, error: Exception) -> RemoteFailure:
    """Return the error for a text that is not the answer of a program of ours."""
    attempted, began = f"reading the answers of {host}", clean(answer.stdout, longest=80)
    if isinstance(error, TooLarge):
        return AnswerTooLong(
            attempted,
            came_back=f"its answer has {error}, which are not read",
            remedy=f"see whether {host} is what it was, and what it has so many of",
        )
    if isinstance(error, BadAnswer) and error.is_json:
        return RemoteFailure(
            attempted,
            came_back=f"not of the expected form: {error}",
            remedy=f"see whether {host} is what it was: its python3, and what answers at its "
            "address",
        )
    return RemoteFailure(
        attempted,
        came_back=f"not the answers of Backstay's questions: {began!r} ({error})",
        remedy="see whether the login shell of that user prints something of its own",
    )


def source_of(function: Callable[..., Any]) -> str:
    """Return a source text that defines ``function`` and all that it needs.

    Raises ValueError where it needs something that cannot be taken along, or two modules give
    different things one name.
    """
    module = inspect.getmodule(function)
    if module is None:
        raise ValueError(f"{function!r} has no module")
    definitions = _definitions(module)
    wanted, waiting = set[str](), [function.__name__]
    while waiting:
        name = waiting.pop()
        if name in wanted or name not in definitions:
            continue
        wanted.add(name)
        _Stripped().visit(definitions[name])  # in place
        waiting.extend(_names(definitions[name]))
    if function.__name__ not in wanted:
        raise ValueError(f"{function.__name__} is not defined at the top of {module.__name__}")
    chosen = {id(node): node for name, node in definitions.items() if name in wanted}
    borrowed = [node for node in chosen.values() if _is_own(node)]
    body = [_narrowed(node, wanted) for node in chosen.values() if not _is_own(node)]
    body.sort(key=lambda node: (not isinstance(node, ast.Import | ast.ImportFrom), node.lineno))
    text = ast.unparse(ast.fix_missing_locations(ast.Module(body=body, type_ignores=[])))
    whole = "\n".join([*(_borrowed(node, wanted) for node in borrowed), text])
    _refuse_doubles(whole)
    return whole


_TOP = re.compile(r"^(?:(?:def|class) (\w+)|(\w+) = |import |from )", re.MULTILINE)


def _refuse_doubles(text: str) -> None:
    """Raise ValueError where a name stands for two things: on the host the last one would win."""
    starts = [*_TOP.finditer(text)]
    ends = [*(found.start() for found in starts[1:]), len(text)]
    known: dict[str, str] = {}
    for found, end in zip(starts, ends, strict=True):
        name, source = found[1] or found[2], text[found.start() : end].strip()
        if name and known.setdefault(name, source) != source:
            raise ValueError(f"two modules define {name}: give one of them another name")


def _is_own(node: ast.stmt) -> bool:
    """Return whether it imports from another module of Backstay's."""
    return isinstance(node, ast.ImportFrom) and (node.module or "").startswith("backstay.")


def _borrowed(node: ast.stmt, wanted: set[str]) -> str:
    """Return the source text of the functions that are imported by ``node``."""
    assert isinstance(node, ast.ImportFrom)  # noqa: S101 - for mypy
    module = importlib.import_module(node.module or "")
    names = [alias.name for alias in node.names if alias.name in wanted]
    return "\n".join(source_of(getattr(module, name)) for name in names)


@cache
def _definitions(module: ModuleType) -> dict[str, ast.stmt]:
    """Return what the top of a module defines, by name."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                found[(alias.asname or alias.name).split(".")[0]] = node
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = _Stripped().visit(node)
        elif isinstance(node, ast.Assign):
            found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
    return found


def _narrowed(node: ast.stmt, wanted: set[str]) -> ast.stmt:
    """Return an import of only the names that are wanted; anything else as it is."""
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return node
    names = [alias for alias in node.names if (alias.asname or alias.name).split(".")[0] in wanted]
    module = node.module if isinstance(node, ast.ImportFrom) else names[0].name
    if (module or "").split(".")[0] not in sys.stdlib_module_names:
        raise ValueError(f"{module} is not of the standard library: it cannot be shipped")
    if isinstance(node, ast.ImportFrom):
        return ast.ImportFrom(module=module, names=names, level=0, lineno=node.lineno)
    return ast.Import(names=names, lineno=node.lineno)


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


class _Stripped(ast.NodeTransformer):
    """Takes away annotations and docstrings."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        self.generic_visit(node)
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        assigned = ast.Assign(targets=[node.target], value=self.visit(node.value))
        return ast.copy_location(assigned, node)
