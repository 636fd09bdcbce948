"""Everything that is MariaDB's in a backup: binary logs, scratch servers, what runs on the host."""

from collections.abc import Mapping

SERVER = "MariaDB"
"""What the server is called in texts."""
HOT_BACKUP = "mariadb-backup"
"""The program that copies a running server's files and makes the copy consistent."""
INSTALL = (
    "apt-get install mariadb-server mariadb-backup, on the machine that keeps the backups; the "
    "server need not run there"
)
"""What to do where this machine has none of MariaDB's programs."""
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "mariadb-server": ("mariadbd", "mariadb-install-db"),
    "mariadb-client": ("mariadb", "mariadb-check", "mariadb-dump", "mariadb-binlog"),
    "mariadb-backup": ("mbstream", "mariadb-backup|mariabackup"),
}
"""The programs for a server of our own, by Debian's packages; ``|`` is between names for one."""
NOT_DATA = (
    "ib_buffer_pool",
    "ibtmp1",
    "*.pid",
    "backup-my.cnf",
    "xtrabackup_*",
    "mariadb_backup_*",
    "server.log",
)
"""Files in a data directory that only a scratch server and the backup program have left there."""
