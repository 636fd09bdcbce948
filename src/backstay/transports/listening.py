"""Does a server take a connection? By TCP, and by TLS with a certificate that is trusted.

Nothing is sent over it.
"""

import asyncio
import contextlib
import socket
import ssl

from backstay.answers import clean
from backstay.transports.tls import Trust, context_of


async def trouble(host: str, port: int, *, bound: float, trust: Trust | None = None) -> str:
    """Return why a server takes no connection within ``bound`` seconds, empty where it takes one.

    With ``trust`` it is one of TLS, whose certificate is checked against that.
    """
    try:
        async with asyncio.timeout(bound):
            _, writer = await asyncio.open_connection(
                host, port, ssl=context_of(trust) if trust else None
            )
    except TimeoutError:
        return f"no connection within {bound:g} s"
    except socket.gaierror as error:
        return f"the name {host} is not known: {error.strerror}"
    except ConnectionRefusedError:
        return f"port {port} refuses connections"
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted: {clean(error.verify_message)}"
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return clean(str(said), longest=200)
    with contextlib.suppress(OSError):
        writer.transport.abort()
    return ""
