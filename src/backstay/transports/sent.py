"""What is sent to hosts, APIs and BMCs, in short and without secrets: the log of BACKSTAY_DEBUG=1.

Arguments, headers, bodies, queries and what comes back are never in it.
"""

import logging
import re
from urllib.parse import urlsplit

LOG = logging.getLogger("backstay.sent")
_CALLED = re.compile(r"lambda: (\w+)\(")


def log_script(host: str, address: str, script: str) -> None:
    """Log that a script is run on a host: the function that it calls, and its length."""
    if LOG.isEnabledFor(logging.DEBUG):
        called = _CALLED.search(script)
        name = f"{called[1]}()" if called else "a script"
        LOG.debug("ssh %s (%s): python3 -I -: %s, %d characters", host, address, name, len(script))


def log_request(what: str, url: str) -> None:
    """Log a request to an API by what it is for, its host and path."""
    if LOG.isEnabledFor(logging.DEBUG):
        parts = urlsplit(url)
        where = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
        LOG.debug("http, %s: %s%s", what, where, parts.path)


def log_call(what: str, target: str) -> None:
    """Log another question or command, such as one to a BMC, by its name."""
    LOG.debug("%s: %s", what, target)
