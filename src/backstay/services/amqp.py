"""Opening a connection to a broker step by step, as a service would: which step fails, and how.

Shipped to hosts as text: standard library, Python 3.6. The steps are ``name``, ``connect``,
``tls``, ``greeting``, ``login`` and ``vhost``. The protocol is AMQP 0-9-1:
https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, section 2.2.4. No password is in what is
returned.
"""

import contextlib
import errno
import importlib.util
import os
import re
import select
import socket
import ssl
import struct
import threading
import time
from pathlib import Path
from typing import Any

BOUND = 4.0
ANSWER_BOUND = 6.0  # until which a broker that took the connection may answer: it may be busy
NAME_BOUND = 3.0
AGAIN = (
    0.6  # seconds after which another connection is tried beside the first: a packet may be lost
)
LARGEST = 1 << 17
ADDRESSES = 4
HEADER = b"AMQP\x00\x00\x09\x01"
# A client that says so is refused in words, not by closing:
# https://www.rabbitmq.com/docs/auth-notification
CAPABILITIES = b"\x1cauthentication_failure_closet\x01"
NO_WAY_OUT = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
FORBIDDEN = (errno.EPERM, errno.EACCES)


def try_brokers(transport: dict[str, Any], login: bool) -> dict[str, Any]:
    """Try each broker of a transport, all at the same time; return how far each came.

    ``transport`` is as ``transport_url.transport_of`` returns it. Without ``login`` the connection
    is opened and closed. It takes no more than BOUND seconds, and ANSWER_BOUND where a broker takes
    the connection.
    """
    if "brokers" not in transport:
        return {"config": transport["config"], "trouble": transport["trouble"], "tries": []}
    ends, answered = time.monotonic() + BOUND, time.monotonic() + ANSWER_BOUND
    notes = []
    threads = []
    for broker in transport["brokers"][:16]:
        note = {
            "host": broker["host"],
            "port": broker["port"],
            "user": broker["user"],
            "tls": transport["tls"] is not None,
            "step": "name",
            "ended": "late",
            "detail": "",
            "address": "",
        }
        notes.append(note)
        given = (broker, transport, login, (ends, answered), note)
        threads.append(threading.Thread(target=try_broker, args=given, daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join(max(0.0, answered + 0.3 - time.monotonic()))
    return {
        "config": transport["config"],
        "vhost": transport["vhost"],
        "tries": [dict(note) for note in notes],
    }


def try_broker(
    broker: dict[str, Any],
    transport: dict[str, Any],
    login: bool,
    bounds: tuple[float, float],
    note: dict[str, Any],
) -> None:
    """Go through the steps; ``note`` says at each moment which one is under way."""
    stream, ends = None, bounds[1]
    try:
        found = resolved(broker["host"], broker["port"], bounds[0], note)
        if found:
            note["step"] = "connect"
            stream = connected(found, bounds[0], note)
        if stream is not None and transport["tls"] is not None:
            note.update(step="tls", ended="late")
            stream = with_tls(stream, transport["tls"], broker["host"], ends, note)
        if stream is not None and login:
            log_in(stream, broker, transport["vhost"], ends, note)
        elif stream is not None:
            note["ended"] = "ok"
    except socket.timeout:  # noqa: UP041 - another one before Python 3.10
        note["ended"] = "late"
    except OSError as error:
        note.update(ended="closed", detail=error.strerror or type(error).__name__)
    except Exception as error:  # whatever a server makes of this program
        note.update(ended="odd", detail=type(error).__name__)
    finally:
        detail = str(note["detail"])
        if note["step"] in ("login", "vhost"):  # a broker may repeat what it was sent
            detail = detail.replace(broker["password"], "…")
        note["detail"] = detail[:200]
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def resolved(host: str, port: int, ends: float, note: dict[str, Any]) -> list[Any]:
    """Return the addresses of a name; a name service that is not there takes its time."""
    answer: list[Any] = []

    def ask() -> None:
        try:
            answer.append(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))
        except Exception as error:  # a name may also be one that cannot be encoded
            answer.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(max(0.0, min(NAME_BOUND, ends - time.monotonic())))
    if not answer or isinstance(answer[0], Exception):
        error = answer[0] if answer else None
        again = not answer or getattr(error, "errno", None) == socket.EAI_AGAIN
        note.update(ended="late" if again else "unknown", detail=name_servers())
        return []
    return list(answer[0][:ADDRESSES])


def name_servers() -> str:
    """Return the name servers that this host asks."""
    try:
        text = Path("/etc/resolv.conf").read_text(errors="replace")
    except OSError:
        return ""
    return ", ".join(re.findall(r"^\s*nameserver\s+(\S+)", text, re.M)[:3])


def connected(found: list[Any], ends: float, note: dict[str, Any]) -> Any:  # noqa: ANN401 - a socket or None
    """Return a connection to the first address that takes one; None where none does.

    Further connections are tried beside the first, so that single lost packets say nothing.
    """
    waiting: dict[int, Any] = {}
    hopeless: set[Any] = set()
    count, due, late, won = 0, time.monotonic(), False, None
    while won is None and not late and (waiting or len(hopeless) < len(found)):
        now = time.monotonic()
        # At the end a look at what the kernel has: this process may be the one that is late.
        late = now >= ends
        if now >= due and not late:
            due = now + AGAIN
            left = [one for one in found if one[4] not in hopeless]
            count += len(left)
            begin_connecting(left, waiting, hopeless, note)
        poller = select.poll()
        for number in waiting:
            poller.register(number, select.POLLOUT)
        pause = 0.0 if late else max(0.0, min(due, ends) - time.monotonic())
        for number, _ in poller.poll(pause * 1000):
            one, address = waiting.pop(number)
            status = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if status == 0 and won is None:
                won = one
                won.setblocking(True)
                note.update(address=address[0], ended="late", detail="")
                continue
            one.close()
            if status:
                hopeless.add(address)
                failed_to_connect(status, address, note)
    for one, address in waiting.values():
        one.close()
        if won is None:
            note.update(ended="late", address=address[0], detail=str(count) + " attempts")
    return won


def begin_connecting(
    found: list[Any], waiting: dict[int, Any], hopeless: set[Any], note: dict[str, Any]
) -> None:
    """Begin a connection to each of these addresses."""
    for family, kind, protocol, _, address in found:
        one = socket.socket(family, kind, protocol)
        one.setblocking(False)
        status = one.connect_ex(address)
        if status in (0, errno.EINPROGRESS):
            waiting[one.fileno()] = (one, address)
        else:
            one.close()
            hopeless.add(address)
            failed_to_connect(status, address, note)


def failed_to_connect(status: int, address: Any, note: dict[str, Any]) -> None:  # noqa: ANN401
    """Note why an address takes no connection."""
    ended = "failed"
    if status == errno.ECONNREFUSED:
        ended = "refused"
    elif status in NO_WAY_OUT:
        ended = "no route"
    elif status in FORBIDDEN:
        ended = "forbidden"
    elif status == errno.ETIMEDOUT:
        ended = "late"
    note.update(ended=ended, address=address[0], detail=os.strerror(status))


def with_tls(
    stream: Any,  # noqa: ANN401 - a socket
    options: dict[str, str],
    host: str,
    ends: float,
    note: dict[str, Any],
) -> Any:  # noqa: ANN401 - a socket or None
    """Return the connection with TLS, as the services' own library (py-amqp) makes it.

    https://github.com/celery/py-amqp/blob/main/amqp/transport.py: the authority's file, or the
    system's; names are not compared unless that is asked for.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        if options["ca"]:
            context.load_verify_locations(options["ca"])
        elif library_verifies():
            context.load_default_certs()
        else:
            context.verify_mode = ssl.CERT_NONE
        if options["cert"]:
            context.load_cert_chain(options["cert"], options["key"] or None)
    except OSError as error:
        names = ", ".join(one for one in (options["ca"], options["cert"], options["key"]) if one)
        note.update(ended="file", detail=names + ": " + (error.strerror or str(error)))
        stream.close()
        return None
    if options["name"]:
        context.check_hostname = True
    stream.settimeout(max(0.1, ends - time.monotonic()))
    try:
        return context.wrap_socket(stream, server_hostname=options["name"] or host)
    except ssl.CertificateError as error:
        note.update(ended="untrusted", detail=getattr(error, "verify_message", "") or str(error))
    except ssl.SSLError as error:
        reason = error.reason or ""
        ended = "alert"
        if "CERTIFICATE_VERIFY" in reason:
            ended = "untrusted"
        elif reason in ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST"):
            ended = "no tls"
        elif "EOF" in reason or "timed out" in str(error):
            ended = "late" if "timed out" in str(error) else "closed"
        detail = getattr(error, "verify_message", "") or reason.lower().replace("_", " ")
        note.update(ended=ended, detail=detail)
    stream.close()
    return None


def library_verifies() -> bool:
    """Return whether py-amqp checks certificates where no authority is named: since 5.0."""
    try:
        spec = importlib.util.find_spec("amqp")
        text = Path(spec.origin or "").read_text(errors="replace") if spec else ""
    except (OSError, ImportError, ValueError, TypeError):
        return True
    found = re.search(r"__version__ = .(\d+)", text)
    return found is None or int(found.group(1)) >= 5


def log_in(
    stream: Any,  # noqa: ANN401 - a socket
    broker: dict[str, Any],
    vhost: str,
    ends: float,
    note: dict[str, Any],
) -> None:
    """Greet, log in, open the virtual host, and close. Raises OSError where nothing comes."""
    note.update(step="greeting", ended="late")
    stream.settimeout(max(0.1, ends - time.monotonic()))
    stream.sendall(HEADER)
    head = taken(stream, 7, ends)
    if len(head) < 7 or head[:1] == b"\x15" or head[:4] == b"AMQP" or head[:1] != b"\x01":
        ended = "closed" if not head else "tls port" if head[:1] == b"\x15" else "not amqp"
        note.update(ended=ended)
        return
    start = rest_of_frame(stream, head, ends)
    if start[:4] != struct.pack(">HH", 10, 10):
        note.update(ended="not amqp")
        return
    note.update(step="login")
    secret = "\x00{}\x00{}".format(broker["user"], broker["password"]).encode()
    table = b"\x0ccapabilitiesF" + struct.pack(">I", len(CAPABILITIES)) + CAPABILITIES
    table += b"\x07productS" + struct.pack(">I", 8) + b"Backstay"
    arguments = struct.pack(">I", len(table)) + table
    arguments += b"\x05PLAIN" + struct.pack(">I", len(secret)) + secret + b"\x05en_US"
    tune = asked(stream, 11, arguments, ends)
    if tune[:4] != struct.pack(">HH", 10, 30):
        note.update(ended="refused", detail=reason_in(tune))
        return
    note.update(step="vhost")
    send_method(stream, 31, tune[4:12])
    name = vhost.encode()[:255]
    opened = asked(stream, 40, bytes([len(name)]) + name + b"\x00\x00", ends)
    if opened[:4] != struct.pack(">HH", 10, 41):
        note.update(ended="refused", detail=reason_in(opened))
        return
    note.update(ended="ok", detail="")
    with contextlib.suppress(OSError):
        asked(stream, 50, struct.pack(">HBHH", 200, 0, 0, 0), ends)


def asked(stream: Any, method: int, arguments: bytes, ends: float) -> bytes:  # noqa: ANN401 - a socket
    """Send a method and return the answer; empty where the connection was closed."""
    try:
        send_method(stream, method, arguments)
        head = taken(stream, 7, ends)
        return rest_of_frame(stream, head, ends) if len(head) == 7 else b""
    except (BrokenPipeError, ConnectionResetError):
        return b""


def send_method(stream: Any, method: int, arguments: bytes) -> None:  # noqa: ANN401 - a socket
    """Send one method of the class "connection"."""
    payload = struct.pack(">HH", 10, method) + arguments
    stream.sendall(struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce")


def rest_of_frame(stream: Any, head: bytes, ends: float) -> bytes:  # noqa: ANN401 - a socket
    """Return a frame's payload. Raises ValueError where it is no frame."""
    size = struct.unpack(">BHI", head)[2]
    if size > LARGEST:
        raise ValueError("no frame")
    return taken(stream, size + 1, ends)[:-1]


def taken(stream: Any, count: int, ends: float) -> bytes:  # noqa: ANN401 - a socket
    """Return so many bytes, fewer where the connection was closed. Raises socket.timeout."""
    found = b""
    while len(found) < count:
        left = ends - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")  # noqa: UP041 - as above
        stream.settimeout(left)
        piece = stream.recv(count - len(found))
        if not piece:
            break
        found += piece
    return found


def reason_in(payload: bytes) -> str:
    """Return the words with which a broker closes a connection, empty where it says none."""
    if payload[:4] != struct.pack(">HH", 10, 50) or len(payload) < 7:
        return ""
    code = struct.unpack(">H", payload[4:6])[0]
    return str(code) + " " + payload[7 : 7 + payload[6]].decode(errors="replace")
