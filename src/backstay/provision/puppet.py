"""``puppet apply`` on the host itself, of manifests that came with its backup."""

import re
from dataclasses import dataclass

from backstay.inventory.provision import Puppet
from backstay.provision.work import Work, script

_SERIOUS = re.compile(r"^(Error|Err):|\berror:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PuppetApply:
    """Applies a manifest. Exit status 0 says that nothing was to do, 2 that changes were made.

    https://www.puppet.com/docs/puppet/7/man/apply
    """

    settings: Puppet

    def work(self, host: str, address: str) -> Work:
        """Return the command; kinds of resources in ``skip`` are left alone by their tags."""
        given = self.settings
        argv = ["puppet", "apply", "--detailed-exitcodes", "--color=false"]
        if given.hiera:
            argv.append(f"--hiera_config={given.hiera}")
        if given.modulepath:
            argv.append(f"--modulepath={':'.join(given.modulepath)}")
        if given.skip:
            argv.append(f"--skip_tags={','.join(given.skip)}")
        return Work(
            name="puppet",
            does="running puppet apply",
            script=script([*argv, *given.options, given.manifest], given.environment),
            good=frozenset({0, 2}),
            serious=_SERIOUS,
        )
