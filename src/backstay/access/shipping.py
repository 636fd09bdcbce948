"""Turning functions of Backstay's own modules into a text that a host's python3 can run.

Taken along is what a function uses of its module: other functions, constants, imports of the
standard library, functions of other modules of Backstay's. Annotations and docstrings stay behind,
so that modules may be typed as today while hosts may have Python 3.6.
"""

import ast
import importlib
import inspect
import sys
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any


def source_of(function: Callable[..., Any]) -> str:
    """Return a source text that defines ``function`` and all that it needs.

    Raises ValueError where it needs something that cannot be taken along.
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
    return "\n".join([*(_borrowed(node, wanted) for node in borrowed), text])


def _is_own(node: ast.stmt) -> bool:
    """Say whether it imports from another module of Backstay's."""
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
