"""The settings that come with a hot backup. Also shipped as text: see onhost.

``mariadb-backup --prepare`` reads them before anything else, and does what they say: they may name
programs to load (``plugin_load``, ``plugin_dir``) and files of any place. They came from the host
with its data: only what InnoDB needs to read its files is taken over.
https://mariadb.com/kb/en/files-created-by-mariadb-backup/
"""

import re

SETTINGS_FILE = "backup-my.cnf"
PLAIN = {
    "innodb_checksum_algorithm": "[a-z0-9_]+",
    "innodb_compression_level": "[0-9]+",
    "innodb_data_file_path": "[A-Za-z0-9_.:;-]+",
    "innodb_fast_checksum": "[a-z0-9_]+",
    "innodb_log_block_size": "[0-9]+",
    "innodb_log_checksum_algorithm": "[a-z0-9_]+",
    "innodb_log_checksums": "[A-Za-z0-9]+",
    "innodb_log_file_size": "[0-9]+",
    "innodb_log_files_in_group": "[0-9]+",
    "innodb_page_size": "[0-9]+",
    "innodb_undo_directory": r"\./",
    "innodb_undo_tablespaces": "[0-9]+",
}
"""Settings that are taken over, and what their values may be."""


def plain_settings(text: str) -> str:
    """Return the settings of a backup without all that is not in ``PLAIN``. Pure."""
    kept = ["[mysqld]"]
    for line in text.split("\n"):
        name, _, value = (part.strip() for part in line.partition("="))
        if name in PLAIN and re.fullmatch(PLAIN[name], value):
            kept.append(name + "=" + value)
    return "\n".join(kept) + "\n"
