"""Print what the distributions of this checkout depend on, for pip-compile (``make lock``).

``dependencies.py run`` prints what running needs: Backstay, with the extras that many sites need.
``dependencies.py develop`` adds the lab, what tests and checks need, and the extras that only some
sites need (PostgreSQL, etcd): tests use these. The distributions themselves are in neither.
"""

import re
import sys
import tomllib
from pathlib import Path

TOP = Path(__file__).parents[1]
OWN = ("backstay", "backstay-lab")
RUN = ((TOP / "pyproject.toml", ("ipmi", "mariadb")),)
DEVELOP = (
    (TOP / "pyproject.toml", ("ipmi", "mariadb", "postgresql", "etcd", "dev")),
    (TOP / "packaging" / "backstay-lab" / "pyproject.toml", ("dev",)),
)


def requirements(files: tuple[tuple[Path, tuple[str, ...]], ...]) -> set[str]:
    """Return the requirements of distributions, and of some of their extras."""
    found: set[str] = set()
    for file, chosen in files:
        project = tomllib.loads(file.read_text())["project"]
        found |= set(project["dependencies"])
        extras = project.get("optional-dependencies", {})
        found |= {one for extra in chosen for one in extras.get(extra, ())}
    return {one for one in found if re.split(r"[<>=!~\[ ]", one)[0] not in OWN}


if __name__ == "__main__":
    print("\n".join(sorted(requirements(RUN if sys.argv[1:] == ["run"] else DEVELOP))))
