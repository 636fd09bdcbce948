"""What a witness is asked about another host. Sent as text: standard library, Python 3.6.

The operator's machine runs the same functions, perhaps not as root: what a user may not do there
is then not known, which is distinguished from an address that does not answer.
"""

import errno
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from backstay.jsondata import Json
from backstay.transports.arp import who_has
from backstay.transports.ndp import who_has_v6
from backstay.transports.ping import answers

TRIES = 4
PAUSE = 0.4  # seconds between two questions by ARP: one may be lost
CONNECT = 2.0  # the kernel asks a second time after one second
GREETING = 0.5  # what greets first (SSH, databases) is not sent nonsense
ANSWER = 3.0


def witness(address: str, ports: list[int], quick: bool, tries: int = TRIES) -> dict[str, Any]:
    """Return what this host sees of another: its hardware address, pings, ports, connections.

    ``quick`` leaves out the ports and connections; ``tries`` is how often ARP is asked, and the
    most that ping is. All is asked at the same time; the connections
    come last, so that what arrives on them meanwhile counts.
    """
    started = time.monotonic()
    found: dict[str, Any] = {
        "hostname": socket.gethostname(),
        "boot_id": boot_id(),
        "way": {},
        "ports": [],
    }
    try:
        known = socket.getaddrinfo(address, None, 0, socket.SOCK_STREAM)
    except OSError as error:
        found["trouble"] = f"the name {address} is not known: {error.strerror}"
        return found
    plain = str(min((family != socket.AF_INET, where[0]) for family, _, _, _, where in known)[1])
    found["way"] = way = way_to(plain)
    asked = [
        lambda: found.update(arp=ask_arp(plain, way, tries)),
        lambda: found.update(pings=ask_ping(plain, tries)),
    ]
    if not quick:
        asked += [port_question(plain, port, found["ports"]) for port in ports]
    at_once(asked)
    found["neighbour"] = neighbour(plain)
    found["seconds"] = time.monotonic() - started
    found["connections"] = None if quick else connections(plain)
    return found


def alive() -> dict[str, Any]:
    """Return that this host answers, and its boot id."""
    return {"boot_id": boot_id()}


def boot_id() -> str:
    """Return the kernel's name of this boot."""
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123 - plain on purpose
        return file.read().strip()


def at_once(questions: list[Callable[[], Any]]) -> None:
    """Ask every question on a thread of its own; each has its bound."""
    threads = [threading.Thread(target=question, daemon=True) for question in questions]
    for thread in threads:
        thread.start()
    until = time.monotonic() + CONNECT + GREETING + ANSWER + 2
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


def output(command: list[str]) -> str:
    """Return what a program prints, nothing where it is not there or fails."""
    try:
        done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=5,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")


def way_to(address: str) -> dict[str, Any]:
    """Return how packets go there: device, router (empty on the same network), own address.

    ``own`` tells that the address is this host's own. Without iproute2 all is empty.
    https://man7.org/linux/man-pages/man8/ip-route.8.html
    """
    shown = output(["ip", "route", "get", address])
    named = dict(re.findall(r"\b(dev|via|src) (\S+)", shown))
    return {
        "device": named.get("dev", ""),
        "router": named.get("via", ""),
        "source": named.get("src", ""),
        "own": shown.startswith("local "),
    }


def ask_arp(address: str, way: dict[str, Any], tries: int) -> dict[str, Any]:
    """Return the hardware addresses that answer for an address on the same network.

    By ARP, or for IPv6 by neighbour solicitation.

    ``asked`` is false where it could not be asked, and ``told`` says why. A kernel's neighbour
    table is no proof: it calls an entry reachable for half a minute after the last answer.
    https://www.rfc-editor.org/rfc/rfc826
    """
    if way["router"] or way["own"] or not way["device"] or not way["source"]:
        return {"asked": False, "message": "not on its network", "macs": []}
    try:
        if ":" in address:
            macs = who_has_v6(way["device"], [address], tries, PAUSE)[address]
        else:
            macs = who_has(way["device"], [address], way["source"], tries, PAUSE)[address]
    except OSError as error:
        return {"asked": False, "message": error.strerror or str(error), "macs": []}
    return {"asked": True, "message": "", "macs": macs}


def ask_ping(address: str, tries: int) -> Any:  # noqa: ANN401 - True, False or None
    """Return whether one of several echo requests is answered, None where none may be sent."""
    if ":" in address:
        return None
    try:
        return any(answers(address, 0.6) for _ in range(min(3, tries)))
    except OSError:
        return None


def port_question(address: str, port: int, found: list[Any]) -> Callable[[], Any]:
    """Return the question to one port, whose answer goes into ``found``."""
    return lambda: found.append([port, *ask_port(address, port)])


def ask_port(address: str, port: int) -> list[str]:
    """Return what a TCP port does: ``answered``, ``accepted``, ``refused`` or ``silent``; and why.

    The kernel of a host that hangs takes connections all the same, so only bytes are an answer.
    Each protocol in question greets by itself, or answers HTTP with a complaint.
    """
    try:
        connection = socket.create_connection((address, port), CONNECT)
    except ConnectionError as error:
        return ["refused", error.strerror or "refused"]
    except OSError as error:
        unreachable = error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)
        return ["silent", (error.strerror or "no way") if unreachable else "no answer"]
    try:
        for said, patience in ((b"", GREETING), (b"GET / HTTP/1.0\r\n\r\n", ANSWER)):
            connection.sendall(said)
            connection.settimeout(patience)
            try:
                data = connection.recv(64)
            except socket.timeout:  # noqa: UP041 - another class before Python 3.10
                continue
            return ["answered", first_words(data)]
    except ConnectionError:
        return ["answered", "closed it"]  # only a process that runs closes a connection
    except OSError as error:
        return ["silent", error.strerror or "no answer"]
    finally:
        connection.close()
    return ["accepted", "accepts connections and sends nothing"]


def first_words(data: bytes) -> str:
    """Return the printable beginning of an answer."""
    text = re.sub(r"[^ -~]+", " ", data.decode("ascii", "replace")).strip()
    return text[:24] or (f"{len(data)} bytes" if data else "closed it")


def neighbour(address: str) -> str:
    """Return the state of the kernel's neighbour entry, empty where it has none.

    https://man7.org/linux/man-pages/man8/ip-neighbour.8.html
    """
    words = output(["ip", "neigh", "show", address]).split()
    return words[-1] if words and words[-1].isupper() else ""


def connections(address: str) -> Json:
    """Return how many connections to it are established, and how long ago one brought something.

    None where ``ss`` is not there. https://man7.org/linux/man-pages/man8/ss.8.html
    """
    shown = output(["ss", "-Htin", "state", "established", "dst", address])
    if not shown:
        return None
    return established(shown)


def established(shown: str) -> dict[str, Any]:
    """Read the lines of ``ss -ti``: how many, and the youngest sign of the other end in seconds.

    An acknowledgement is a sign as well as data is. ``ss`` leaves out what is 0, so a line
    without any of its times is one whose times are not known.
    """
    count, youngest = 0, None
    for line in shown.splitlines():
        if not line[:1].isspace():
            count += 1
        elif "lastsnd:" in line or "lastrcv:" in line or "lastack:" in line:
            times = dict(re.findall(r"\b(lastrcv|lastack):(\d+)", line))
            age = min(int(times.get(name, "0")) for name in ("lastrcv", "lastack")) / 1000.0
            youngest = age if youngest is None else min(youngest, age)
    return {"count": count, "heard": youngest}
