"""What runs on hosts: the kernel's tables and logs, read."""

import os
import socket
import time
from pathlib import Path

from backstay.access.shipping import source_of
from backstay.health.rpc import onhost
from backstay.services import connections
from backstay.services.rabbitmq.queues import ask_messaging
from tests.health.rpc.recorded import DATA

LOG = DATA / "nova-compute.log"


def test_endpoints_as_the_kernel_writes_them() -> None:
    assert connections.endpoint("15004D0A:1628") == ("10.77.0.21", 5672)
    assert connections.endpoint("0000000000000000FFFF000015004D0A:1628") == ("10.77.0.21", 5672)
    assert connections.endpoint("B80D01200000000067452301EFCDAB89:0050") == (
        "2001:db8::123:4567:89ab:cdef",
        80,
    )


def test_own_connections_are_found_with_their_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            with accepted:
                found = connections.sockets([port])
                mine = connections.inodes_of(connections.unit_pids(os.getpid()))
                ends = {(one[1], one[3]) for inode, one in found.items() if inode in mine}
                own = client.getsockname()[1]
                assert ends == {(own, port), (port, own)}
                assert [one[3] for one in onhost.broker_sockets([port])] == [own]


def test_the_last_message_of_each_kind(tmp_path: Path) -> None:
    text = LOG.read_text(encoding="utf-8")
    moved = tmp_path / "agent.log"
    moved.write_text(text, encoding="utf-8")
    found = dict(onhost.last_messages(str(moved)))
    assert set(found) == {"lost the broker", "reconnected", "its calls time out"}
    last = max(line[:19] for line in text.splitlines() if "Reconnected" in line)
    at = time.mktime(time.strptime(last, "%Y-%m-%d %H:%M:%S"))
    assert abs(time.time() - at - found["reconnected"]) < 5
    assert onhost.last_messages(str(tmp_path / "none.log")) == []


def test_all_of_it_can_be_shipped() -> None:
    for function in (onhost.read_agents, onhost.ping, onhost.broker_sockets, ask_messaging):
        space: dict[str, object] = {}
        exec(compile(source_of(function), function.__name__, "exec"), space)
        assert callable(space[function.__name__])
