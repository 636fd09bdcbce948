"""Programs of this machine are started outside of a sandbox by few modules, each with a reason."""

import ast
from pathlib import Path

import backstay

TOP = Path(backstay.__file__).parent
TRANSPORTS = "backstay.transports"
UNCONFINED = {
    "backup/mariadb/scratch.py": "asks this machine's server for its version, and removes folders",
}
"""Modules of backups and their runbooks that do, and why."""


def starts_programs(file: Path) -> bool:
    for node in ast.walk(ast.parse(file.read_text())):
        names = {one.name for one in getattr(node, "names", ()) if isinstance(one, ast.alias)}
        programs = isinstance(node, ast.ImportFrom) and node.module == f"{TRANSPORTS}.programs"
        if programs and {"run", "start"} & names:
            return True
        if isinstance(node, ast.Import) and "subprocess" in names:
            return True
        if isinstance(node, ast.Attribute) and node.attr.startswith("create_subprocess_"):
            return True
    return False


def test_what_reads_data_of_hosts_starts_its_programs_in_a_sandbox() -> None:
    files = [
        file
        for room in ("backup", "runbooks/backup", "runbooks/restore")
        for file in sorted((TOP / room).rglob("*.py"))
        if not file.name.startswith("onhost")
    ]
    found = {str(file.relative_to(TOP)) for file in files if starts_programs(file)}
    assert found == set(UNCONFINED)
