"""A message broker that has lost its database."""

from collections.abc import Mapping

from backstay.inventory.enums import Role
from backstay_lab.errors import LabError
from backstay_lab.faults import records, units
from backstay_lab.faults.fault import Fault, refuse_unless_on
from backstay_lab.faults.records import Record
from backstay_lab.hosts import LabHost, all_hosts
from backstay_lab.layout import Lab

UNIT = "rabbitmq-server.service"
HOME = "/var/lib/rabbitmq"
BOUND = 240.0  # seconds for a stop and a start of the broker
DEFINITIONS = f"{HOME}/backstay-lab-definitions.json"  # users with digests of their passwords: 0600

# The definitions are saved once: a second attempt must not save those of the empty broker.
FORGET = f"""
umask 077
if [ ! -s {DEFINITIONS} ]; then
    rabbitmqctl --quiet export_definitions - >{DEFINITIONS}.part
    mv {DEFINITIONS}.part {DEFINITIONS}
fi
systemctl stop rabbitmq-server
rm -rf {HOME}/mnesia
install -d -o rabbitmq -g rabbitmq -m 0750 {HOME}/mnesia
systemctl start rabbitmq-server
rabbitmqctl --quiet await_startup --timeout 120
"""
# Only users and permissions are restored: queues and exchanges are declared by the services.
REMEMBER = f"""
import json
saved = json.load(open("{DEFINITIONS}"))
wanted = ("users", "vhosts", "permissions", "topic_permissions", "policies", "parameters")
print(json.dumps({{key: saved[key] for key in wanted if key in saved}}))
"""
# Also after an interruption at any line above: without saved definitions nothing was lost yet.
RESTORE = f"""
umask 077
[ -d {HOME}/mnesia ] || install -d -o rabbitmq -g rabbitmq -m 0750 {HOME}/mnesia
systemctl start rabbitmq-server
rabbitmqctl --quiet await_startup --timeout 120
if [ -s {DEFINITIONS} ]; then
    python3 -I -c '{REMEMBER}' | rabbitmqctl --quiet import_definitions
fi
"""


def user_names(listing: str) -> list[str]:
    """Return the users from ``rabbitmqctl --quiet list_users --no-table-headers``."""
    return sorted(line.split("\t")[0] for line in listing.splitlines() if line.strip())


def users(host: LabHost) -> list[str]:
    """Ask a broker for the names of its users."""
    argv = ["rabbitmqctl", "--quiet", "list_users", "--no-table-headers"]
    return user_names(host.run(argv, bound=60).stdout)


def broker_host(lab: Lab) -> LabHost:
    """Return the lab's host that has the message broker. Raises LabError where none has."""
    for host in all_hosts(lab):
        if host.role is Role.CONTROLLER:
            return host
    raise LabError(
        "finding the message broker",
        came_back="the lab has no controller",
        remedy="backstay lab up",
    )


class RabbitAmnesia(Fault):
    """The broker comes back without queues, exchanges and users, as after a lost disk."""

    name = "rabbit-amnesia"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the broker (``target`` may be empty) and note its users' names."""
        host = LabHost(lab, target) if target else broker_host(lab)
        units.running(host, UNIT, f"making the broker on {host.name} forget")
        before = [
            record for record in records.read(lab) if record.key == (self.name, host.name, "")
        ]
        noted = before[0].noted if before else {"users": ",".join(users(host))}
        return Record(fault=self.name, host=host.name, noted=noted)

    def make(self, host: LabHost, record: Record) -> None:
        """Stop it, remove its database, start it."""
        host.script(FORGET, bound=BOUND)

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return that none of its users is known any more; ``guest`` is made by the broker."""
        if host.power_state() == "off":
            return None
        lost = set(_noted(record)) - {"guest"}
        left = lost & set(users(host))
        return None if left else f"the broker runs and has forgotten {', '.join(sorted(lost))}"

    def undo(self, host: LabHost, record: Record) -> str:
        """Restore users and permissions; services declare the rest themselves."""
        refuse_unless_on(host, f"restoring the users of the broker on {host.name}")
        script = RESTORE
        if "guest" not in _noted(record):
            script += "rabbitmqctl --quiet delete_user guest || true\n"
        host.script(script, bound=BOUND)
        missing = set(_noted(record)) - set(users(host))
        if missing:
            raise LabError(
                f"restoring the users of the broker on {host.name}",
                came_back=f"{', '.join(sorted(missing))} is still unknown",
                remedy=f"backstay lab shell {host.name} rabbitmqctl import_definitions "
                f"{DEFINITIONS}",
            )
        host.script(f"rm -f {DEFINITIONS}")
        return f"users {', '.join(_noted(record))} and their permissions are back"


def _noted(record: Record) -> list[str]:
    return [name for name in record.noted.get("users", "").split(",") if name]
