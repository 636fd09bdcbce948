"""An agent that looks alive and does not process RPC messages."""

import re
import time
from collections.abc import Collection, Mapping

from backstay_lab.errors import LabError
from backstay_lab.faults import records, units
from backstay_lab.faults.broker import broker_host
from backstay_lab.faults.fault import Fault, refuse_unless_on
from backstay_lab.faults.network import in_force, write_table
from backstay_lab.faults.records import Record
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab

UNIT = "nova-compute.service"
AMQP_PORT = "5672"
DEAF, HALF_OPEN, NO_REPLY = "deaf", "half-open", "no-reply-queue"
BOUND = 90.0  # seconds until a restarted agent must be bound again

BINDINGS = [
    "rabbitmqctl",
    "--quiet",
    "list_bindings",
    "--no-table-headers",
    "source_name",
    "destination_name",
    "routing_key",
]
# What the management API's DELETE does, without needing a password: rabbit_binding:remove/2 with
# the record #binding{source, key, destination, args} of RabbitMQ 3.
UNBIND = """
rabbit_binding:remove({{binding, {{resource, <<"/">>, exchange, <<"nova">>}}, <<"{queue}">>,
{{resource, <<"/">>, queue, <<"{queue}">>}}, []}}, <<"backstay-lab">>).
"""

# The queue is removed from the broker's tables without its process, which would notify the client:
# the same happens to an agent when its queue expires unnoticed.
FORGET_QUEUE = """
rabbit_amqqueue:internal_delete({{resource, <<"/">>, queue, <<"{queue}">>}}, <<"backstay-lab">>).
"""
CONSUMERS = [
    "rabbitmqctl",
    "--quiet",
    "list_consumers",
    "--no-table-headers",
    "queue_name",
    "channel_pid",
]
CHANNELS = ["rabbitmqctl", "--quiet", "list_channels", "--no-table-headers", "pid", "name"]


def local_ports(sockets: str, pids: Collection[int], peer: str) -> list[str]:
    """Return the local ports of connections to ``peer`` (IP:PORT) that belong to processes.

    ``sockets`` is what ``ss --tcp --numeric --processes --no-header state established`` prints:
    two numbers, local address, peer address, users.
    """
    ports = []
    for line in sockets.splitlines():
        fields = line.split(maxsplit=4)
        if len(fields) == 5 and _plain(fields[3]) == peer:
            owners = {int(pid) for pid in re.findall(r"pid=(\d+)", fields[4])}
            if owners & set(pids):
                ports.append(fields[2].rpartition(":")[2])
    return sorted(ports)


def _plain(address: str) -> str:
    """Return an IPv4 address that was written as one mapped into IPv6 as itself."""
    return address.replace("[::ffff:", "").replace("]", "")


def reply_queues(consumers: str, channels: str, address: str, ports: Collection[str]) -> list[str]:
    """Return the reply queues from which connections ``address``:``ports`` take.

    ``consumers`` and ``channels`` are what CONSUMERS and CHANNELS print; a channel's name is
    ``10.0.0.21:41084 -> 10.0.0.11:5672 (1)``.
    """
    name = dict(line.split("\t") for line in channels.splitlines() if "\t" in line)
    mine = {f"{address}:{port}" for port in ports}
    found = (line.split("\t") for line in consumers.splitlines() if line.startswith("reply_"))
    return sorted({queue for queue, pid in found if name.get(pid, "").split(" ")[0] in mine})


def is_bound(bindings: str, queue: str) -> bool:
    """Return whether exchange ``nova`` passes messages on to the queue, from BINDINGS' output."""
    return ["nova", queue, queue] in (line.split("\t") for line in bindings.splitlines())


class WedgeAgent(Fault):
    """nova-compute is active and connected, and no call reaches it.

    ``deaf``: its queue gets no messages any more; heartbeats go on, the service counts as up, and
    it does not heal by itself. ``half-open``: the packets of its connections to the broker are
    dropped, as by a firewall that forgot them; both ends hold them for established until the
    messaging library's heartbeat (60 s at first) gives up and reconnects, which works.
    ``no-reply-queue``: the queue for the answers to its own calls is gone, and it was not
    notified. It answers calls; its own time out.
    """

    name = "wedge-agent"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the agent, and for ``half-open`` its connections."""
        host = LabHost(lab, target)
        how = options.get("how", DEAF)
        unit = units.running(host, UNIT, f"wedging the agent of {host.name}")
        broker = broker_host(lab)
        noted = {"queue": f"compute.{host.name}"}
        if how == HALF_OPEN:
            noted |= {"address": host.address, "peer": broker.address, "port": AMQP_PORT}
            noted["ports"] = ",".join(_connections(host, unit, broker.address))
        elif how == NO_REPLY:
            ports = _connections(host, unit, broker.address)
            noted["queue"] = _reply_queue(broker, host, ports)
            noted["pid"] = str(unit.main_pid)
        else:
            refuse_unless_on(broker, f"wedging the agent of {host.name}")
            _refuse_unless_bound(broker, noted["queue"], _is_wedged(lab, self.name, host.name))
        return Record(fault=self.name, host=host.name, options={"how": how}, noted=noted)

    def make(self, host: LabHost, record: Record) -> None:
        """Remove the binding or the queue, or drop the connections' packets."""
        if record.options["how"] == HALF_OPEN:
            write_table(host.lab, records.read(host.lab))
            return
        template = FORGET_QUEUE if record.options["how"] == NO_REPLY else UNBIND
        expression = template.format(queue=record.noted["queue"]).replace("\n", " ").strip()
        broker_host(host.lab).run(["rabbitmqctl", "--quiet", "eval", expression], bound=60)

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return how it is wedged; None where calls reach it, or it does not run at all."""
        if host.power_state() == "off":
            return None
        if record.options["how"] == HALF_OPEN:
            if not in_force(host.lab, record):
                return None
            ports = record.noted["ports"]
            return f"the packets of its AMQP connections (ports {ports}) are dropped silently"
        if record.options["how"] == NO_REPLY:
            return _without_reply_queue(host, record)
        if _bound(broker_host(host.lab), record.noted["queue"]):
            return None
        return f"nova-compute is connected, but exchange nova has no way to {record.noted['queue']}"

    def undo(self, host: LabHost, record: Record) -> str:
        """Restart the deaf agent until it is bound again; let the half-open one's packets pass."""
        if record.options["how"] == HALF_OPEN:
            others = [other for other in records.read(host.lab) if other.key != record.key]
            write_table(host.lab, others)
            return "the packets of its connections pass again"
        if host.power_state() == "off":
            return f"{host.name} is off: its agent binds its queue when it starts"
        if record.options["how"] == NO_REPLY:
            if _without_reply_queue(host, record):
                host.run(["systemctl", "restart", UNIT], bound=BOUND)
            return "nova-compute has a new queue for answers"
        broker, queue = broker_host(host.lab), record.noted["queue"]
        if _bound(broker, queue):
            return f"{queue} is bound again already"
        host.run(["systemctl", "restart", UNIT], bound=BOUND)
        until = time.monotonic() + BOUND
        while not _bound(broker, queue):
            if time.monotonic() > until:
                raise LabError(
                    f"restarting nova-compute on {host.name}",
                    came_back=f"{queue} is not bound after {BOUND:.0f} s",
                    remedy=f"backstay lab shell {host.name} journalctl -u nova-compute",
                )
            time.sleep(1)
        return f"nova-compute restarted, {queue} is bound again"


def _without_reply_queue(host: LabHost, record: Record) -> str | None:
    """Return that the process waits for answers from a queue that is gone; None where not."""
    if units.show(host, UNIT).main_pid != int(record.noted["pid"]):
        return None
    queue = record.noted["queue"]
    listed = broker_host(host.lab).run(["rabbitmqctl", "--quiet", "list_queues", "name"], bound=60)
    if queue in listed.stdout.split():
        return None
    return f"nova-compute waits for answers from {queue}, which is gone"


def _reply_queue(broker: LabHost, host: LabHost, ports: Collection[str]) -> str:
    consumers, channels = (broker.run(argv, bound=60).stdout for argv in (CONSUMERS, CHANNELS))
    found = reply_queues(consumers, channels, host.address, ports)
    if not found:
        raise LabError(
            f"wedging the agent of {host.name}",
            came_back="nova-compute has no reply queue",
            remedy="wait until it has made its first call, then repeat the command",
        )
    return found[0]


def _bound(broker: LabHost, queue: str) -> bool:
    return is_bound(broker.run(BINDINGS, bound=60).stdout, queue)


def _is_wedged(lab: Lab, fault: str, host: str) -> bool:
    return any(record.key == (fault, host, "") for record in records.read(lab))


def _refuse_unless_bound(broker: LabHost, queue: str, wedged: bool) -> None:
    if not wedged and not _bound(broker, queue):
        raise LabError(
            f"wedging the agent of queue {queue}",
            came_back=f"exchange nova has no binding to {queue} now",
            remedy="wait until nova-compute has registered, then repeat the command",
        )


def _connections(host: LabHost, unit: units.Unit, broker: str) -> list[str]:
    argv = ["ss", "--tcp", "--numeric", "--processes", "--no-header", "state", "established"]
    pids = units.processes(host, unit)
    ports = local_ports(host.run(argv).stdout, pids, f"{broker}:{AMQP_PORT}")
    if not ports:
        raise LabError(
            f"wedging the agent of {host.name}",
            came_back=f"nova-compute has no connection to {broker}:{AMQP_PORT}",
            remedy="wait until it has connected, then repeat the command",
        )
    return ports
