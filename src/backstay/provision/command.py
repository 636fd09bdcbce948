"""Any command of the site's own, on the host that is built or on the operator's machine."""

from dataclasses import dataclass

from backstay.inventory.provision import Command
from backstay.provision.work import Work, script


@dataclass(frozen=True, slots=True)
class AnyCommand:
    """Runs it with the host's name and address in ``BACKSTAY_HOST`` and ``BACKSTAY_ADDRESS``."""

    settings: Command

    def work(self, host: str, address: str) -> Work:
        """Return the command."""
        given = self.settings
        environment = {"BACKSTAY_HOST": host, "BACKSTAY_ADDRESS": address, **given.environment}
        return Work(
            name="command",
            does=f"running {given.argv[0]}",
            script=script(given.argv, environment),
            good=frozenset(given.good),
            here=given.on == "here",
        )
