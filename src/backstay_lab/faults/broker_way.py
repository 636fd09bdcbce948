"""A host whose agents have no way to the message broker: packets lost, or the configuration wrong.

The broker itself is well, and so is everything else on the host.
"""

from collections.abc import Mapping

from backstay_lab.errors import LabError
from backstay_lab.faults import records, units
from backstay_lab.faults.agent import AMQP_PORT, UNIT
from backstay_lab.faults.broker import broker_host
from backstay_lab.faults.fault import Fault, refuse_unless_on
from backstay_lab.faults.network import in_force, write_table
from backstay_lab.faults.records import Record
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab

THERE, BACK = "there", "back"
PASSWORD, VHOST, NAME, TLS = "password", "vhost", "name", "tls"
NAME_SERVER = "10.255.255.53"
"""Nobody answers there."""
BOUND = 180.0  # seconds for a stop and a start of the agents
KEPT = ".backstay-lab"
FILES = "/etc/nova/nova.conf /etc/neutron/neutron.conf"
AGENTS = "nova-compute neutron-linuxbridge-agent neutron-dhcp-agent"
RESTART = f"""
for u in {AGENTS}; do
    systemctl list-unit-files --no-legend $u.service | grep -q . || continue
    systemctl reset-failed $u
    systemctl restart --no-block $u  # it says that it is ready only with a way to the broker
done
true
"""
CHANGE = {
    PASSWORD: "sed -i -E 's#^(transport_url *= *rabbit://[^:]*:)[^@]*@#\\1wrong-password@#' $f",
    VHOST: "sed -i -E 's#^(transport_url *= *rabbit://[^/]*)/?.*$#\\1/nowhere#' $f",
    NAME: "sed -i -E 's#^(transport_url *= *rabbit://[^@]*@)[^:/]*#\\1broker.lab.example#' $f",
    TLS: "printf '\\n[oslo_messaging_rabbit]\\nssl = true\\n' >>$f",
}
MAKE = """
set -e
for f in {files}; do
    [ -f $f ] || continue
    [ -f $f{kept} ] || cp --archive $f $f{kept}
    cat $f{kept} >$f
    {change}
done
{more}
{restart}
"""
DEAD_NAMES = f"""
[ -f /etc/resolv.conf{KEPT} ] || cat /etc/resolv.conf >/etc/resolv.conf{KEPT}
echo 'nameserver {NAME_SERVER}' >/etc/resolv.conf
"""
UNDO = f"""
for f in {FILES} /etc/resolv.conf; do
    [ -f $f{KEPT} ] || continue
    cat $f{KEPT} >$f
    rm -f $f{KEPT}
done
{RESTART}
"""


class CutBroker(Fault):
    """The packets between a host and the broker's port are dropped silently, in one direction."""

    name = "cut-broker"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the host and the broker."""
        lost = options.get("lost", BACK)
        if lost not in (THERE, BACK):
            raise LabError(
                f"cutting {target} from the broker",
                came_back="packets can be lost on the way there or back",
                remedy=f"--lost {THERE} or --lost {BACK}",
            )
        host, broker = LabHost(lab, target), broker_host(lab)
        noted = {"address": host.address, "peer": broker.address, "port": AMQP_PORT}
        return Record(fault=self.name, host=host.name, options={"lost": lost}, noted=noted)

    def make(self, host: LabHost, record: Record) -> None:
        """Put the rules in force; the record is among the lab's already."""
        write_table(host.lab, records.read(host.lab))

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return what the rules do."""
        if not in_force(host.lab, record):
            return None
        lost = "to the broker" if record.options["lost"] == THERE else "of the broker to it"
        return f"the packets {lost} are dropped silently; all others pass"

    def undo(self, host: LabHost, record: Record) -> str:
        """Put the rules of all other faults in force."""
        others = [other for other in records.read(host.lab) if other.key != record.key]
        write_table(host.lab, others)
        return "the packets between it and the broker pass again"


class WrongBroker(Fault):
    """The configuration of a host's agents does not lead to the broker; they are restarted with it.

    ``password`` and ``vhost``: the broker refuses them. ``name``: the broker is named by a name,
    and the host's name service does not answer. ``tls``: they use TLS on a port without.
    """

    name = "wrong-broker"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the host; its agent must run."""
        how = options.get("how", PASSWORD)
        if how not in CHANGE:
            raise LabError(
                f"changing the way of {target} to the broker",
                came_back=f"{how} is not one of {', '.join(CHANGE)}",
                remedy=f"backstay lab break {self.name} {target} --how {PASSWORD}",
            )
        host = LabHost(lab, target)
        record = Record(fault=self.name, host=host.name, options={"how": how})
        if record.key not in {known.key for known in records.read(lab)}:
            units.running(host, UNIT, f"changing the way of {host.name} to the broker")
        return record

    def make(self, host: LabHost, record: Record) -> None:
        """Keep the files, change them, restart the agents."""
        how = record.options["how"]
        script = MAKE.format(
            files=FILES,
            kept=KEPT,
            change=CHANGE[how],
            more=DEAD_NAMES if how == NAME else "",
            restart=RESTART,
        )
        host.script(script, bound=BOUND)

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return that the files are changed."""
        if host.power_state() == "off":
            return None
        changed = f"for f in {FILES}; do [ -f $f{KEPT} ] && ! cmp -s $f $f{KEPT} && echo $f; done"
        found = host.script(f"{changed}; true", bound=30).stdout.split()
        if not found:
            return None
        return f"the {record.options['how']} of the broker is wrong in {', '.join(found)}"

    def undo(self, host: LabHost, record: Record) -> str:
        """Put the files back and restart the agents."""
        refuse_unless_on(host, f"putting the way of {host.name} to the broker back")
        host.script(UNDO, bound=BOUND)
        return "its agents are restarted with their own configuration"
