"""Whether a host's database can be backed up and its log received. Shipped as text: see onhost."""

import shutil

from backstay.backup.mariadb.onhost_database import query
from backstay.jsondata import Json

# As onhost_database has them: functions alone are taken along from another module.
COPY_PROGRAMS = ("mariadb-backup", "mariabackup")
DUMP_PROGRAMS = ("mariadb-dump", "mysqldump")


def readiness() -> Json:
    """Return the server's version, whether it writes a binary log, and which programs are there.

    It only reads.
    """
    answer = query("SELECT @@version, @@log_bin, @@server_id")[0].split("\t")
    return {
        "version": answer[0],
        "writes_log": answer[1] == "1",
        "copies": any(shutil.which(name) for name in COPY_PROGRAMS),
        "dumps": any(shutil.which(name) for name in DUMP_PROGRAMS),
    }
