"""All functions that are sent to hosts: they are of Python 3.6, with its standard library alone.

They are found from the files: what is given to ``ask``, ``stream``, ``send``, ``program`` and their
like, what probes and questions declare as ``ask``, and every function of a module ``onhost``.
"""

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest

import backstay
from backstay.access.shipping import _refuse_doubles, source_of

SENT_BY = {"ask": 1, "stream": 1, "send": 1, "program": 0, "reading": 0, "source_of": 0}
"""Functions that send another one, with the place of that among their arguments."""
DECLARED_BY = {"HostProbe", "HostLivenessProbe", "Question"}
NEW_MODULES = {
    "_zoneinfo", "contextvars", "dataclasses", "graphlib", "tomllib", "zoneinfo",
}  # fmt: skip
NEW_NAMES = {
    "cached_property", "capture_output", "copy_file_range", "create_server", "dirs_exist_ok",
    "fromisoformat", "get_running_loop", "is_relative_to", "isascii", "memfd_create", "missing_ok",
    "pidfd_open", "posix_spawn", "prod", "removeprefix", "removesuffix", "singledispatchmethod",
    "time_ns", "monotonic_ns", "with_stem", "bit_count", "breakpoint", "aiter",
}  # fmt: skip
"""Attributes and keywords of the standard library that came after Python 3.6."""


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(backstay.__path__, "backstay."):
        yield importlib.import_module(found.name)


def sent(module: ModuleType) -> Iterator[Callable[..., Any]]:
    """The functions that a module sends, or that are its own to be sent."""
    if module.__name__.rpartition(".")[2].strip("_").find("onhost") >= 0:
        for value in vars(module).values():
            if isinstance(value, FunctionType) and value.__module__ == module.__name__:
                yield value
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call):
            name = (
                node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            )
            given: list[ast.expr] = []
            if name in SENT_BY:
                given = node.args[SENT_BY[name] :][:1]
            if name in DECLARED_BY:
                given = [one.value for one in node.keywords if one.arg == "ask"]
            for one in given:
                value = resolved(module, one)
                if isinstance(value, FunctionType) and value.__module__.startswith("backstay."):
                    yield value


def new_keywords(node: ast.Call) -> set[str | None]:
    return {keyword.arg for keyword in node.keywords}


def resolved(module: ModuleType, node: ast.expr) -> Any:
    """What a name, or a name in a module, stands for at the top of a module; else None."""
    value: Any = module
    for name in ast.unparse(node).split("."):
        value = getattr(value, name, None)
    return value


FUNCTIONS = sorted(
    {function for module in modules() for function in sent(module)},
    key=lambda function: (function.__module__, function.__name__),
)


def test_they_are_found() -> None:
    names = {f"{one.__module__.removeprefix('backstay.')}.{one.__name__}" for one in FUNCTIONS}
    assert {
        "health.onhost.main",
        "health.witness.onhost.witness",
        "maintenance.gates_onhost.boot_obstacles",
        "runbooks.replace.onhost.adopt",
        "transports.arp.ask_own_networks",
    } <= names
    assert len(names) > 100


@pytest.mark.parametrize(
    "function", FUNCTIONS, ids=lambda one: f"{one.__module__.partition('.')[2]}.{one.__name__}"
)
def test_it_is_of_python_3_6(function: Callable[..., Any]) -> None:
    tree = ast.parse(source_of(function), feature_version=(3, 6))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named = named or [alias.name for alias in node.names]
            for name in named:
                assert name.partition(".")[0] in sys.stdlib_module_names - NEW_MODULES, name
        new = set()
        if isinstance(node, ast.Call):
            new |= {keyword.arg for keyword in node.keywords} & NEW_NAMES
            called = ast.unparse(node.func)
            assert not (called == "zip" and node.keywords), "zip(strict=)"
            assert not (called.startswith("subprocess.") and "text" in new_keywords(node)), "text="
        if isinstance(node, ast.Attribute):
            new |= {node.attr} & NEW_NAMES
        assert not new, f"{ast.unparse(node)}: {new}"


def test_a_name_that_two_modules_define_is_refused() -> None:
    text = "def inside(a):\n    return a\nimport os\nFEW = 1\n"
    _refuse_doubles(text + text)
    for other in ("def inside(b):\n    return b\n", "FEW = 2\n", "inside = 3\n"):
        with pytest.raises(ValueError, match="two modules define"):
            _refuse_doubles(text + other)
