"""An agent whose messaging library does not check whether the broker is alive, as old ones."""

from collections.abc import Mapping

from backstay_lab.faults import records, units
from backstay_lab.faults.agent import UNIT
from backstay_lab.faults.fault import Fault
from backstay_lab.faults.records import Record
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab

BOUND = 120.0  # seconds that the agent may take to start
DROP_IN = f"/run/systemd/system/{UNIT}.d/backstay-lab.conf"
MODULES = "/run/backstay-lab/old-client"
# oslo.config reads options from the environment; python3 imports sitecustomize by itself. Today's
# py-amqp (amqp/transport.py) has the kernel probe after 60 s without a packet; the kernel's own
# default is two hours.
MAKE = f"""
mkdir -p {MODULES} "$(dirname {DROP_IN})"
cat > {MODULES}/sitecustomize.py <<'END'
import amqp.transport
amqp.transport.DEFAULT_SOCKET_SETTINGS.clear()
END
cat > {DROP_IN} <<'END'
[Service]
Environment=PYTHONPATH={MODULES}
Environment=OS_OSLO_MESSAGING_RABBIT__HEARTBEAT_TIMEOUT_THRESHOLD=0
END
systemctl daemon-reload
systemctl restart {UNIT}
"""
UNDO = f"rm -rf {MODULES} {DROP_IN}; systemctl daemon-reload; systemctl restart {UNIT}"


class OldClient(Fault):
    """nova-compute runs without heartbeats and without keepalive, as clients of old releases.

    Nothing is broken yet. But it never notices a broker that vanished without closing the
    connection, as where the controller is replaced under its address: its idle connection stays,
    half-open.
    https://bugs.launchpad.net/oslo/+bug/856764
    """

    name = "old-client"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the agent; it must run."""
        host = LabHost(lab, target)
        record = Record(fault=self.name, host=host.name)
        if record.key not in {known.key for known in records.read(lab)}:
            units.running(host, UNIT, f"making an old client of the agent of {host.name}")
        return record

    def make(self, host: LabHost, record: Record) -> None:
        """Restart it with the old behaviour, until the host reboots or the fault is healed."""
        host.script(MAKE, bound=BOUND)

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return that it runs with the old behaviour; None where it does not."""
        if host.power_state() == "off":
            return None
        unit = units.show(host, UNIT)
        environment = f"/proc/{unit.main_pid}/environ"
        matches = host.script(f"grep -csF {MODULES} {environment} || true", bound=30)
        if matches.stdout.strip() in {"", "0"}:
            return None
        return "nova-compute sends no heartbeats and its kernel no keepalive"

    def undo(self, host: LabHost, record: Record) -> str:
        """Restart it as it was."""
        if host.power_state() == "off":
            return f"{host.name} is off: its agent starts as it was"
        host.script(UNDO, bound=BOUND)
        return "nova-compute restarted with heartbeats and keepalive"
