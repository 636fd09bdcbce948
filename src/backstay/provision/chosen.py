"""Which configuration management builds a host, by what cloud.yaml says."""

from backstay.inventory.provision import Ansible, Command, ProvisionMethod, Puppet
from backstay.provision.ansible import AnsiblePlaybook
from backstay.provision.command import AnyCommand
from backstay.provision.puppet import PuppetApply
from backstay.provision.work import Provision


def chosen(means: ProvisionMethod) -> Provision:
    """Return the one that ``means`` names."""
    given = means.given
    if isinstance(given, Puppet):
        return PuppetApply(given)
    if isinstance(given, Ansible):
        return AnsiblePlaybook(given)
    assert isinstance(given, Command)  # noqa: S101 - one of the three, as the inventory has it
    return AnyCommand(given)
