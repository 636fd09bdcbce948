"""How MariaDB's client is started on what came from a host.

https://mariadb.com/kb/en/mariadb-command-line-client/
"""

from backstay.transports.namespaces import EMPTY

CLIENT = (
    "--no-defaults",
    f"--plugin-dir={EMPTY}",
    "--binary-mode",
    "--local-infile=0",
    "--loose-sandbox",  # newer clients alone have it
    "--max-allowed-packet=1G",
)
"""Options of a client that itself carries out nothing of what it is given, such as ``source``."""
