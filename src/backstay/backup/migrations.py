"""Which schemas the installed release expects. Shipped as text: standard library, Python 3.6.

Alembic keeps one file for each change of a schema; a database is up to date when it names the heads
of them. https://alembic.sqlalchemy.org/en/latest/branches.html
"""

import ast
import importlib.util
import os
from typing import Any

from backstay.jsondata import Json


def expected_heads(folders: Json) -> Json:
    """Return the ``heads`` by database, and why those of other databases are ``unknown``.

    ``folders`` holds each database's folder of alembic's versions, relative to where this host's
    Python finds packages. A release in a virtual environment of its own is not found.
    """
    heads, unknown = {}, {}
    for database, folder in folders.items():
        package = folder.split("/")[0]
        spec = importlib.util.find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec else []
        if not places:
            unknown[database] = "the host's python3 has no package " + package
            continue
        versions = os.path.join(os.path.dirname(places[0]), folder)  # noqa: PTH118, PTH120
        try:
            heads[database] = heads_of([revision(text) for text in sources(versions)])
        except (OSError, SyntaxError, ValueError) as error:
            unknown[database] = versions + ": " + str(error)
            continue
        if not heads[database]:
            del heads[database]
            unknown[database] = versions + " holds no versions"
    return {"heads": heads, "unknown": unknown}


def sources(folder: Any) -> Any:  # noqa: ANN401 - as short
    """Return the source of every file of a folder and of those in it, as bytes."""
    found = []
    for path, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".py"):
                with open(os.path.join(path, name), "rb") as file:  # noqa: PTH118, PTH123
                    found.append(file.read())
    return found


def revision(source: Any) -> Any:  # noqa: ANN401 - as short
    """Return a version's own id and the ids that it comes after; None and none of another file.

    Read without running it. Branch labels among those that it depends on name no version, and may
    be what only running it would show.
    """
    values = {}
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and getattr(node, "value", None) is not None:
                values[target.id] = node.value
    own = ast.literal_eval(values["revision"]) if "revision" in values else None
    after = []
    for name in ("down_revision", "depends_on"):
        given = values.get(name)
        for part in given.elts if isinstance(given, (ast.Tuple, ast.List)) else [given]:
            try:
                value = ast.literal_eval(part) if part is not None else None
            except ValueError:
                if name == "down_revision":
                    raise
                continue
            if value is not None:
                after.append(value)
    return own, after


def heads_of(revisions: Any) -> Any:  # noqa: ANN401 - as short
    """Return the ids that no other version comes after or depends on: what a database names.

    A version that another one depends on is in the database no more, once that one is.
    """
    passed = {one for _, after in revisions for one in after}
    return sorted(own for own, _ in revisions if own is not None and own not in passed)
