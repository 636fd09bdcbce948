"""``ansible-playbook`` on the operator's machine, with the site's own inventory and playbook."""

import json
import re
from dataclasses import dataclass

from backstay.inventory.provision import Ansible
from backstay.provision.work import Work, script

_SERIOUS = re.compile(r"^(fatal|ERROR!?|failed)[:\s!]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AnsiblePlaybook:
    """Runs a playbook for one host.

    https://docs.ansible.com/ansible/latest/cli/ansible-playbook.html
    """

    settings: Ansible

    def work(self, host: str, address: str) -> Work:
        """Return the command, limited to the host unless the site says to what."""
        given = self.settings
        argv = ["ansible-playbook", "--limit", given.limit or host]
        if given.inventory:
            argv += ["--inventory", str(given.inventory)]
        if given.skip:
            argv += ["--skip-tags", ",".join(given.skip)]
        if given.extra:
            argv += ["--extra-vars", json.dumps(dict(given.extra))]
        environment = {
            "ANSIBLE_FORCE_COLOR": "0",
            "BACKSTAY_HOST": host,
            "BACKSTAY_ADDRESS": address,
            **given.environment,
        }
        return Work(
            name="ansible",
            does="running ansible-playbook",
            script=script([*argv, str(given.playbook)], environment, str(given.playbook.parent)),
            here=True,
            serious=_SERIOUS,
        )
