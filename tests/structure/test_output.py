"""Nothing is printed but by one place, which takes out what a terminal obeys."""

import ast
from pathlib import Path

import backstay

ALLOWED = {"transports/ipmi.py: sys.stdout.write"}
"""The program that asks a BMC, in a process of its own: what asks it reads that."""
ONLY_HERE = {"echo", "secho", "print", "prompt", "confirm", "style", "Console", "write"}


def test_there_is_no_other_way_to_the_terminal() -> None:
    """No module of the product prints by itself, but what is sent to hosts."""
    root = Path(backstay.__file__).parent
    found = []
    for path in root.rglob("*.py"):
        if "onhost" in path.name or path.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            owner, _, name = called.rpartition(".")
            prints = owner in {"click", "rich.console", "sys.stdout", "sys.stderr"}
            if called in {"print", "Console", "secho"} or (prints and name in ONLY_HERE):
                found.append(f"{path.relative_to(root)}: {called}")
    assert set(found) <= ALLOWED
