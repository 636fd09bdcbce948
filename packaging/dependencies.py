"""Print what both distributions of this checkout depend on, for pip-compile (``make lock``).

Extras that only one site needs are left out (PostgreSQL, etcd); so are the two distributions.
"""

import re
import tomllib
from pathlib import Path

TOP = Path(__file__).parents[1]
EXTRAS = ("ipmi", "mariadb", "dev")
OWN = ("backstay", "backstay-lab")


def requirements() -> set[str]:
    """Return the requirements of both distributions and of the extras that tests need."""
    found: set[str] = set()
    for file in (TOP / "pyproject.toml", TOP / "packaging" / "backstay-lab" / "pyproject.toml"):
        project = tomllib.loads(file.read_text())["project"]
        found |= set(project["dependencies"])
        extras = project.get("optional-dependencies", {})
        found |= {one for extra in EXTRAS for one in extras.get(extra, ())}
    return {one for one in found if re.split(r"[<>=!~\[ ]", one)[0] not in OWN}


if __name__ == "__main__":
    print("\n".join(sorted(requirements())))
