"""What runs on the controller for ``bench.backup``: standard library alone, as all that is sent."""

import os

from backstay.backup.mariadb.onhost_database import send_database


def send_database_of(home: str) -> None:
    """Back up the server that the option file in ``home`` names, beside the cloud's own."""
    os.environ["HOME"] = home
    send_database()
