"""Whether a host's database can be backed up and its log received. Shipped as text: see onhost."""

import shutil

from backstay.backup.mariadb.onhost_database import BACKUP_PROGRAMS, DUMP_PROGRAMS, query
from backstay.jsondata import Json


def readiness() -> Json:
    """Return the server's version, whether it writes a binary log, and which programs are there.

    It only reads.
    """
    answer = query("SELECT @@version, @@log_bin, @@server_id")[0].split("\t")
    return {
        "version": answer[0],
        "writes_log": answer[1] == "1",
        "copies": any(shutil.which(name) for name in BACKUP_PROGRAMS),
        "dumps": any(shutil.which(name) for name in DUMP_PROGRAMS),
    }
