"""``puppet apply`` on the host itself, of manifests that came with its backup."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backstay.inventory.provision import Puppet
from backstay.provision.work import AWAIT, Work, script

_CONFIGURED = "/etc/puppet/puppet.conf /etc/puppetlabs/puppet/puppet.conf"
# Puppet takes its settings' quotes away.
_PRERUN = "--prerun_command=/bin/sh ${BACKSTAY_AWAIT:-/dev/null}"
_SERIOUS = re.compile(r"^(Error|Err):|\berror:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PuppetApply:
    """Applies a manifest. Exit status 0 says that nothing was to do, 2 that changes were made.

    https://www.puppet.com/docs/puppet/7/man/apply

    It may be started early: reading facts and compiling the catalogue takes it a good part of its
    time, and changes nothing. ``prerun_command`` comes between that and the first change; where the
    site has one of its own, Puppet itself is started later.
    https://www.puppet.com/docs/puppet/7/configuration#prerun-command
    """

    settings: Puppet

    def work(self, host: str, address: str) -> Work:
        """Return the command; kinds of resources in ``skip`` are left alone by their tags."""
        given = self.settings
        argv = ["--detailed-exitcodes", "--color=false"]
        if given.hiera:
            argv.append(f"--hiera_config={given.hiera}")
        if given.modulepath:
            argv.append(f"--modulepath={':'.join(given.modulepath)}")
        if given.skip:
            argv.append(f"--skip_tags={','.join(given.skip)}")
        return Work(
            name="puppet",
            does="running puppet apply",
            script=_held([*argv, *given.options, str(given.manifest)], given.environment),
            good=frozenset({0, 2}),
            serious=_SERIOUS,
            waits=True,
        )


def _held(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return a script that applies when it is let go, and compiles before where it can."""
    known = f"grep -Eqs '^[[:space:]]*prerun_command' {_CONFIGURED}"
    if any("prerun_command" in word for word in argv):
        known = "true"
    return script(
        ["puppet", "apply", *argv],
        environment,
        before=f'if {known}; then {AWAIT}; else set -- "{_PRERUN}"; fi',
    )
