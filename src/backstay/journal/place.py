"""Where the journal and the locks are, unless the environment says otherwise."""

import os
from pathlib import Path

JOURNAL = "BACKSTAY_JOURNAL"
LOCKS = "BACKSTAY_LOCKS"


def folder() -> Path:
    """Return the folder of Backstay's own state: /var/lib/backstay for root, else the user's.

    https://specifications.freedesktop.org/basedir-spec/latest/
    """
    if os.geteuid() == 0:
        return Path("/var/lib/backstay")
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "backstay"


def journal_url() -> str:
    """Return the journal as an SQLAlchemy URL: BACKSTAY_JOURNAL, else a file of SQLite."""
    return os.environ.get(JOURNAL) or f"sqlite:///{folder() / 'journal.db'}"


def beside_journal() -> Path:
    """Return the folder for what must be known beside the journal: its own, where it is a file."""
    url = journal_url()
    file = url.removeprefix("sqlite:///")
    return Path(file).parent if file != url and file.startswith("/") else folder()


def locks_url() -> str:
    """Return the locks as a tooz URL: BACKSTAY_LOCKS, else files.

    https://docs.openstack.org/tooz/latest/user/drivers.html
    """
    return os.environ.get(LOCKS) or f"file://{folder() / 'run-locks'}"


def is_shared() -> bool:
    """Return whether other machines can use this journal, or these locks: files they cannot."""
    return not (journal_url().startswith("sqlite") and locks_url().startswith("file:"))


def runtime_folder() -> Path:
    """Return the folder for what need not outlive the machine's run, on its memory disk.

    It is what systemd has made for the service, else /run/backstay for root, else under
    XDG_RUNTIME_DIR; the folder of the state where there is none.
    https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#RuntimeDirectory=
    """
    made = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if made:
        return Path(made)
    if os.geteuid() == 0:
        return Path("/run/backstay")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "backstay" if runtime else folder()
