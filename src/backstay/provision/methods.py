"""The ways to build a host, by ``provision:`` in cloud.yaml: Puppet, Ansible, a command."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backstay.errors import BackstayError
from backstay.inventory.provision import Ansible, Command, ProvisionMethod, Puppet
from backstay.ownership import NotTrusted, check_command
from backstay.provision.secrecy import secrets_in
from backstay.provision.work import AWAIT, Provision, Work, script


def method_of(means: ProvisionMethod) -> Provision:
    """Return the one that ``means`` names."""
    given = means.given
    if isinstance(given, Puppet):
        return PuppetApply(given)
    if isinstance(given, Ansible):
        return AnsiblePlaybook(given)
    assert isinstance(given, Command)  # noqa: S101 - one of the three, as the inventory has it
    return AnyCommand(given)


_CONFIGURED = "/etc/puppet/puppet.conf /etc/puppetlabs/puppet/puppet.conf"
# Puppet takes its settings' quotes away.
_PRERUN = "--prerun_command=/bin/sh ${BACKSTAY_AWAIT:-/dev/null}"
_PUPPET_ERROR = re.compile(r"^(Error|Err):|\berror:", re.IGNORECASE)


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
            serious=_PUPPET_ERROR,
            waits=True,
            secrets=secrets_in(given.options, given.environment),
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


def _refuse_others(*commands: Sequence[str]) -> None:
    """Raise BackstayError where others could change what one of these runs."""
    for words in commands:
        try:
            check_command(words)
        except NotTrusted as error:
            raise BackstayError(
                f"running {words[0]}", came_back=str(error), remedy=error.remedy
            ) from error


_ANSIBLE_ERROR = re.compile(r"^(fatal|ERROR!?|failed)[:\s!]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AnsiblePlaybook:
    """Runs a playbook for one host.

    https://docs.ansible.com/ansible/latest/cli/ansible-playbook.html
    """

    settings: Ansible

    def work(self, host: str, address: str) -> Work:
        """Return the command, limited to the host unless the site says to what.

        Raises BackstayError where others could change the playbook.
        """
        given = self.settings
        files = [one for one in (given.playbook, given.inventory) if one]
        _refuse_others(["ansible-playbook"], *([str(one)] for one in files))
        argv = ["ansible-playbook", "--limit", given.limit or host]
        if given.inventory:
            argv += ["--inventory", str(given.inventory)]
        if given.skip:
            argv += ["--skip-tags", ",".join(given.skip)]
        environment = {
            "ANSIBLE_FORCE_COLOR": "0",
            "BACKSTAY_HOST": host,
            "BACKSTAY_ADDRESS": address,
            **given.environment,
        }
        return Work(
            name="ansible",
            does="running ansible-playbook",
            script=script(
                [*argv, str(given.playbook)],
                environment,
                str(given.playbook.parent),
                before=_extra_vars(given.extra) if given.extra else "",
            ),
            here=True,
            serious=_ANSIBLE_ERROR,
            secrets=secrets_in((), {**given.environment, **given.extra}),
        )


def _extra_vars(extra: Mapping[str, str]) -> str:
    """Return a line of shell that gives the variables in a file, which only its owner reads.

    The words of a process can be read by everybody on its machine. The file lies beside the script.
    """
    content = shlex.quote(json.dumps(dict(extra)))
    return (
        'extra="${BACKSTAY_AWAIT%/*}/extra-vars.json"; '
        f'(umask 077; printf %s {content} >"$extra") || exit 1; '
        'set -- --extra-vars "@$extra"'
    )


@dataclass(frozen=True, slots=True)
class AnyCommand:
    """Runs it with the host's name and address in ``BACKSTAY_HOST`` and ``BACKSTAY_ADDRESS``.

    Its words stand in the process list where it runs; what is in ``environment`` does not.
    """

    settings: Command

    def work(self, host: str, address: str) -> Work:
        """Return the command. Raises BackstayError where others could change its program."""
        given = self.settings
        if given.on == "here":
            _refuse_others(given.argv)
        environment = {"BACKSTAY_HOST": host, "BACKSTAY_ADDRESS": address, **given.environment}
        return Work(
            name="command",
            does=f"running {given.argv[0]}",
            script=script(given.argv, environment),
            good=frozenset(given.good),
            here=given.on == "here",
            secrets=secrets_in(given.argv, given.environment),
        )
