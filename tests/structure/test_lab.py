"""Backstay does not need the lab: it is another distribution, found by its entry points only."""

import ast
from pathlib import Path

import pytest

import backstay

PACKAGE = Path(backstay.__file__).parent


def imports_of(source: str, name: str) -> list[int]:
    """Return the lines that import the package of that name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or ""]
        else:
            continue
        if any(module.split(".")[0] == name for module in modules):
            found.append(node.lineno)
    return found


def test_backstay_never_imports_the_lab():
    files = {file: file.read_text() for file in PACKAGE.rglob("*.py")}
    assert len(files) > 100
    assert [str(file) for file, text in files.items() if imports_of(text, "backstay_lab")] == []


@pytest.mark.parametrize(
    "text",
    [
        "import backstay_lab.layout",
        "def late():\n    from backstay_lab import up",
        "import backstay_lab",
    ],
)
def test_an_import_of_the_lab_is_found(text):
    assert imports_of(text, "backstay_lab")
    assert not imports_of(text.replace("backstay_lab", "backstay_laboratory"), "backstay_lab")
