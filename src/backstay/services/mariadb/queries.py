"""Many queries answered at once. Shipped as text: standard library, Python 3.6."""

import re
import subprocess
from typing import Any

from backstay.jsondata import Json


def answer_queries(queries: Json, bound: Json) -> Json:
    """Return names of columns and rows for each query, all as of one moment.

    The client goes on after a query that fails, and reports its line: a failure must never be
    taken for an empty answer.
    https://mariadb.com/kb/en/mariadb-command-line-client/
    """
    lines = ["SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ;"]
    lines += ["START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY;"]
    for name in sorted(queries):
        lines.append("SELECT '" + name.replace("'", "''") + "' AS `==`;")
        lines.append(queries[name] + ";")
    done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
        ["mariadb", "--batch", "--force"],
        input="\n".join(lines).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=bound,
        check=False,
    )
    said = done.stderr.decode(errors="replace").strip()
    failed = {int(number): text for number, text in re.findall(r"at line (\d+)(.*)", said)}
    found = parsed(done.stdout.decode(errors="replace"))
    if not found or any(number <= 2 for number in failed):
        raise OSError("mariadb: " + said[-300:])
    answers = {}
    for place, name in enumerate(sorted(queries)):
        line = 4 + 2 * place
        if line in failed or name not in found:
            answers[name] = {"error": failed.get(line, "").lstrip(": ")[:300] or said[-300:]}
        else:
            answers[name] = {"value": found[name]}
    return answers


def parsed(text: str) -> Json:
    """Return columns and rows by the name that was selected before them.

    A query without rows prints not even the names of its columns.
    """
    found: dict[str, Any] = {}
    name, ahead = "", False
    for line in text.split("\n")[:-1]:
        fields = [plain(field) for field in line.split("\t")]
        if fields == ["=="]:
            ahead = True
        elif ahead:
            name, ahead = fields[0], False
            found[name] = {"columns": [], "rows": []}
        elif name and not found[name]["columns"]:
            found[name]["columns"] = fields
        elif name:
            found[name]["rows"].append(fields)
    return found


def plain(field: str) -> str:
    """Return a field without the client's escapes."""
    meant = {"\\n": "\n", "\\t": "\t", "\\0": "\0", "\\\\": "\\"}
    return re.sub(r"\\[nt0\\]", lambda found: meant[found.group(0)], field)
