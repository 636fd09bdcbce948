"""Python packages that a journal or locks elsewhere need: Backstay's extras bring them."""

import re
from importlib.metadata import PackageNotFoundError, requires

from backstay import lacking

_BY_EXTRA = re.compile(r"""([A-Za-z0-9._-]+).*;.*\bextra == ["']([a-z0-9-]+)["']""")
"""How an extra's requirement is written in the data of an installed distribution.

https://packaging.python.org/en/latest/specifications/core-metadata/#requires-dist-multiple-use
"""

_WITHOUT_EXTRA = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""What brings the drivers that no extra does."""


def missing(error: ImportError, driver: str = "", *, otherwise: str) -> tuple[str, str]:
    """Return which package is missing, and what to do: if it can be, the command that installs it.

    ``driver`` is the package that was imported, where the error itself does not say it;
    ``otherwise`` is what can be done instead.
    """
    name = (error.name or driver).partition(".")[0]
    came_back = f"the Python package {name} is missing" if error.name else str(error)
    extra = _extras().get(name)
    if extra is None and name in _WITHOUT_EXTRA:
        line = lacking.pip_install(_WITHOUT_EXTRA[name])
        return came_back, lacking.remedy(f"{line}; or {otherwise}")
    if extra is None:
        return came_back, lacking.remedy(f"install it, or {otherwise}")
    return came_back, lacking.remedy(f"{lacking.install_extra(extra)}; or {otherwise}")


def _extras() -> dict[str, str]:
    """Return which of Backstay's extras brings which package."""
    try:
        found = map(_BY_EXTRA.match, requires("backstay") or ())
    except PackageNotFoundError:  # run from a folder that was never installed
        return {}
    return {one[1]: one[2] for one in found if one is not None}
