"""The files of this machine that a cloud is operated by: who may change them, who may read them."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from backstay.finding import Finding, Severity
from backstay.inventory.cloud import Cloud
from backstay.inventory.document import Place
from backstay.inventory.provision import Command
from backstay.inventory.secret import Secret
from backstay.ownership import NotTrusted, check_command, open_own


def changed_by_others(cloud: Cloud) -> Iterator[tuple[Place, NotTrusted]]:
    """Give the commands and SSH keys of this machine that are refused, with their places.

    Files that do not exist are left to whatever uses them.
    """
    hooks = cloud.maintenance.hooks
    for kind in type(hooks).model_fields:
        for number, hook in enumerate(getattr(hooks, kind)):
            yield from _command(("maintenance", "hooks", kind, number), hook.command or "")
    for name, means in cloud.provision.items():
        given = means.command
        if isinstance(given, Command) and given.on == "here":
            yield from _command(("provision", name, "command"), shlex.join(given.argv))
    keys: list[tuple[Place, Path | None]] = [(("ssh", "key"), cloud.ssh.key)]
    keys += [(("hosts", name, "ssh", "key"), host.ssh.key) for name, host in cloud.hosts.items()]
    for place, key in keys:
        yield from _key(place, key)


def _command(place: Place, command: str) -> Iterator[tuple[Place, NotTrusted]]:
    try:
        check_command(shlex.split(command))
    except ValueError:  # no command line: whatever runs it says so
        return
    except NotTrusted as error:
        yield place, error


def _key(place: Place, key: Path | None) -> Iterator[tuple[Place, NotTrusted]]:
    """Judge a private key as ssh does: https://man.openbsd.org/ssh-keygen#FILES."""
    if key is None:
        return
    try:
        opened = open_own(key)
    except OSError:
        return
    except NotTrusted as error:
        yield place, error
        return
    opened.file.close()
    if opened.uid == os.geteuid() and opened.mode & 0o077:
        what = f"{key} may be used by others (mode {opened.mode:04o}): ssh refuses such a key"
        yield place, NotTrusted(what, f"chmod 600 {key}")


def exposed_secrets(cloud: Cloud) -> list[Finding]:
    """Return a warning for each file with secrets that others on this machine may read.

    It reads files; none of them is opened for its content.
    """
    found = []
    for what, path in dict.fromkeys(_secret_files(cloud)):
        try:
            opened = open_own(path)
        except (OSError, ValueError, NotTrusted):
            continue  # whatever uses it says so
        opened.file.close()
        if opened.others_may_read:
            found.append(
                Finding(
                    host=None,
                    service="files",
                    subject=f"file {path}",
                    severity=Severity.WARNING,
                    evidence=f"{what}, and others on this machine may read it "
                    f"(mode {opened.mode:04o})",
                    remedy=f"chmod 600 {shlex.quote(str(path))}",
                )
            )
    return found


def _secret_files(cloud: Cloud) -> Iterator[tuple[str, Path]]:
    written = False
    for secret in _secrets(cloud):
        written = written or secret.value is not None
        if secret.file is not None:
            yield "it holds a secret", secret.file
    if written:
        yield "secrets are written in it", cloud.path
    for given in filter(None, (cloud.credentials, cloud.watch.credentials)):
        if given.openrc is not None:
            yield "it holds OpenStack credentials", given.openrc
        if given.file is not None:
            yield "it may hold OpenStack credentials", given.file
            yield "it may hold OpenStack credentials", given.file.with_name("secure.yaml")
    if cloud.backup.password_file is not None:
        yield "it holds the password of the backups", cloud.backup.password_file
    if cloud.watch.page.key is not None:
        yield "it is the key of the page's certificate", cloud.watch.page.key


def _secrets(cloud: Cloud) -> Iterator[Secret]:
    machines = [host.bmc for host in cloud.hosts.values()]
    machines += [host.bmc for host in cloud.fenced.values()]
    yield from (bmc.password for bmc in machines if bmc is not None)
    yield from (person.token for person in cloud.watch.page.people.values())
    for channel in cloud.watch.channels.values():
        if channel.email and channel.email.password:
            yield channel.email.password
        if channel.webhook and channel.webhook.token:
            yield channel.webhook.token
        if channel.alertmanager and channel.alertmanager.password:
            yield channel.alertmanager.password
        if channel.apprise:
            yield channel.apprise.url
