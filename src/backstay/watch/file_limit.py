"""How many files the watch may open: connections to hosts, APIs and readers are files."""

import contextlib
import resource

MOST = 65536


def raise_file_limit() -> int:
    """Raise this process's limit of open files as far as it may, and return it.

    systemd gives services a soft limit of 1024, for programs that use select(2):
    https://0pointer.net/blog/file-descriptor-limits.html
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
