"""What a dump in SQL says of itself. Pure."""

import re

HEAD = 1 << 16
"""How many bytes from the start of a dump hold its position."""

_POSITION = re.compile(
    rb"^-- CHANGE MASTER TO MASTER_LOG_FILE='([^']+)', MASTER_LOG_POS=(\d+);", re.M
)


def position_of(head: bytes) -> list[str]:
    """Return the binary log's file and offset to which a dump is complete, from its first bytes.

    Both as text, nothing where the server keeps no binary log. They are in a comment, as of
    ``--master-data=2``.
    """
    found = _POSITION.search(head)
    return [part.decode() for part in found.groups()] if found else []
