"""Ask APIs, BMCs, channels, the repository and the journal's servers: nothing is sent or switched.

Each is bounded and on its own. Errors are part of what comes back: nothing is raised.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from backstay.access.session import CloudSession
from backstay.backup.catalogue import folder_of
from backstay.commands import quoted
from backstay.doctor.facts_afar import Afar, Tried
from backstay.doctor.needs import Topic
from backstay.errors import BackstayError, BackupError, ChannelFailed
from backstay.inventory.cloud import Cloud, Host
from backstay.inventory.enums import Role
from backstay.inventory.watch import Channel, Email
from backstay.journal import reach
from backstay.journal.place import journal_url, locks_url
from backstay.services.declaration import Api
from backstay.transports import listening, restic_reading
from backstay.transports.apprise_channel import load_apprise
from backstay.transports.bmc import power_of
from backstay.transports.exchange import exchange
from backstay.transports.power import STATE_BOUND
from backstay.transports.smtp import MailServer, greet
from backstay.transports.targets import BmcTarget
from backstay.transports.threads import on_thread
from backstay.transports.tls import Trust
from backstay.transports.urls import without_secrets

SERVER_BOUND = 10.0
IMPORT_BOUND = 40.0
"""Seconds for what reads a library from a slow disk first."""
REPOSITORY_BOUND = 30.0
BMCS_AT_ONCE = 32
MOST_CLOCKS = 20

_Try = Callable[[], Awaitable[str]]


async def read_afar(session: CloudSession, wanted: Collection[Topic], hosts: Iterable[str]) -> Afar:
    """Ask all that is ``wanted``, at the same time; BMCs those of ``hosts``."""
    cloud = session.cloud
    with_bmc = [name for name in hosts if cloud.hosts[name].bmc is not None]
    api, bmcs, channels, journal, locks, repository = await asyncio.gather(
        _api(session, wanted),
        _all(_bmc_tries(cloud, with_bmc) if Topic.BMC in wanted else {}, BMCS_AT_ONCE),
        _all(_channel_tries(cloud) if Topic.CHANNELS in wanted else {}, BMCS_AT_ONCE),
        _tried(_journal, IMPORT_BOUND) if _asks_journal(wanted) else _nothing(),
        _tried(_locks, IMPORT_BOUND) if _asks_locks(wanted) else _nothing(),
        _tried(partial(_repository, cloud), REPOSITORY_BOUND)
        if Topic.REPOSITORY in wanted
        else _nothing(),
    )
    return Afar(
        api=api[0],
        clocks=api[1],
        bmcs=bmcs,
        no_bmc=[name for name in hosts if may_be_fenced(cloud.hosts[name])],
        channels=channels,
        journal=journal,
        locks=locks,
        repository=repository,
    )


def may_be_fenced(host: Host) -> bool:
    """Return whether a host would be replaced by a spare, and has no BMC to be fenced by. Pure."""
    return host.bmc is None and bool({Role.CONTROLLER, Role.STORAGE_PROXY} & set(host.roles))


async def read_servers(wanted: Collection[Topic]) -> Afar:
    """Ask what can be asked without a cloud: the servers of the journal and of the locks."""
    journal, locks = await asyncio.gather(
        _tried(_journal, IMPORT_BOUND) if _asks_journal(wanted) else _nothing(),
        _tried(_locks, IMPORT_BOUND) if _asks_locks(wanted) else _nothing(),
    )
    return Afar(journal=journal, locks=locks)


async def _nothing() -> None:
    return None


async def _tried(call: _Try, bound: float) -> Tried:
    try:
        async with asyncio.timeout(bound):
            return Tried(brought=await call())
    except TimeoutError:
        return Tried(late=bound)
    except BackstayError as error:
        return Tried(error=error)
    except Exception as odd:  # whatever a library raises, the others count
        return Tried(
            error=BackstayError(
                "asking",
                came_back=f"{type(odd).__name__}: {odd}",
                remedy="get the details by the same command under BACKSTAY_DEBUG=1",
            )
        )


async def _all(calls: Mapping[str, tuple[_Try, float]], most: int) -> Mapping[str, Tried]:
    turns = asyncio.Semaphore(most)

    async def one(call: _Try, bound: float) -> Tried:
        async with turns:
            return await _tried(call, bound)

    answers = await asyncio.gather(*(one(call, bound) for call, bound in calls.values()))
    return dict(zip(calls, answers, strict=True))


async def _api(
    session: CloudSession, wanted: Collection[Topic]
) -> tuple[Tried | None, Mapping[str, float]]:
    """Return a token's account, and the clocks of those that answer by HTTP."""
    api, bound = session.api, session.cloud.bounds.api_seconds
    if not {Topic.API, Topic.CLOCK} & set(wanted):
        return None, {}
    if isinstance(api, BackstayError):
        return Tried(error=api), {}

    async def token() -> str:
        data = await on_thread(api.authenticate, bound)
        return f"a token as {data.get('user')} of {data.get('project') or 'no project'}"

    tried = await _tried(token, bound + 1)
    urls = [api.auth_url]
    if tried.brought:
        urls += [one.url for one in await session.endpoints()]
    return tried, await _clocks(api, urls) if Topic.CLOCK in wanted else {}


async def _clocks(api: Api, urls: Iterable[str]) -> Mapping[str, float]:
    places = dict.fromkeys(_root_of(url) for url in urls)
    asked = [place for place in places if place][:MOST_CLOCKS]
    found = await asyncio.gather(*(_offset(place, api.trust) for place in asked))
    pairs = zip(asked, found, strict=True)
    return {without_secrets(place): offset for place, offset in pairs if offset is not None}


def _root_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/" if parts.hostname else ""


async def _offset(url: str, trust: Trust) -> float | None:
    """Return how far a server's clock is surely ahead, from its header ``Date``; None unknown."""
    before = time.time()
    answer = await exchange(url, bound=SERVER_BOUND, trust=trust)
    return sure_offset(answer.date, before, time.time())


def sure_offset(date: str, before: float, after: float) -> float | None:
    """Return how far a server's clock is surely ahead of this one's: it gives whole seconds. Pure.

    ``before`` and ``after`` are this machine's times around the answer. None where it is no date.
    """
    try:
        at = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    least, most = at - after, at + 1 - before
    return max(0.0, least) + min(0.0, most)


def _bmc_tries(cloud: Cloud, hosts: Iterable[str]) -> Mapping[str, tuple[_Try, float]]:
    bmcs = {name: cloud.hosts[name].bmc for name in hosts}
    bmcs |= {name: host.bmc for name, host in cloud.fenced.items()}

    def target(name: str) -> BmcTarget:
        bmc = bmcs[name]
        assert bmc is not None  # noqa: S101 - as they were chosen
        return bmc.target(name)

    async def state(name: str) -> str:
        on = await power_of(target(name)).state(bound=STATE_BOUND)
        if on is None:
            return "its power is being switched"
        return f"its power is {'on' if on else 'off'}"

    return {
        name: (partial(state, name), STATE_BOUND + 5)
        for name, bmc in bmcs.items()
        if bmc is not None
    }


def _channel_tries(cloud: Cloud) -> Mapping[str, tuple[_Try, float]]:
    return {
        name: (partial(_channel, channel), IMPORT_BOUND if channel.apprise else SERVER_BOUND + 2)
        for name, channel in cloud.watch.channels.items()
    }


async def _channel(channel: Channel) -> str:
    """Reach a channel as far as that sends nothing. Raises BackstayError."""
    if channel.email is not None:
        return await _mail(channel.email)
    if channel.webhook is not None:
        if channel.webhook.token is not None:
            channel.webhook.token.reveal()
        return await _web(channel.webhook.url, channel.webhook.ca)
    if channel.alertmanager is not None:
        if channel.alertmanager.password is not None:
            channel.alertmanager.password.reveal()
        return await _web(channel.alertmanager.url, channel.alertmanager.ca)
    assert channel.apprise is not None  # noqa: S101 - the model holds exactly one
    channel.apprise.url.reveal()
    await load_apprise()
    return "its address can be read; nothing but a message shows more: backstay watch test"


async def _mail(email: Email) -> str:
    server = MailServer(
        host=email.server,
        port=email.port,
        tls=email.tls,
        ca=email.ca,
        username=email.username,
        password=email.password.reveal() if email.password else None,
    )
    said = await greet(server, bound=SERVER_BOUND)
    return f"{email.server}:{email.port} {'took the login' if email.username else said}"


async def _web(url: str, ca: Path | None) -> str:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    place, port = without_secrets(url), parts.port or (443 if secure else 80)
    trust = Trust(ca=ca) if secure else None
    trouble = await listening.trouble(parts.hostname or "", port, bound=SERVER_BOUND, trust=trust)
    if trouble:
        raise ChannelFailed(
            f"connecting to {place}",
            came_back=f"{place}: {trouble}",
            remedy="name its authority's file in `ca`"
            if "trusted" in trouble
            else "check that it runs and can be reached, and `url` in cloud.yaml",
        )
    return f"{place} takes connections; nothing was sent: backstay watch test"


def _asks_journal(wanted: Collection[Topic]) -> bool:
    return Topic.JOURNAL in wanted and reach.journal_file(journal_url()) is None


def _asks_locks(wanted: Collection[Topic]) -> bool:
    return Topic.LOCKS in wanted and not locks_url().startswith("file:")


async def _journal() -> str:
    url = journal_url()
    await on_thread(lambda: reach.ask_journal(url), IMPORT_BOUND)
    return f"{without_secrets(url, path=True)} answers"


async def _locks() -> str:
    url = locks_url()
    await on_thread(lambda: reach.load_locks(url), IMPORT_BOUND)
    server, place = reach.locks_server(url), without_secrets(url)
    if server is None:
        return f"{place}: its driver is there"
    trouble = await listening.trouble(*server, bound=SERVER_BOUND)
    if trouble:
        raise BackstayError(
            f"connecting to {place}",
            came_back=f"{place}: {trouble}",
            remedy="make sure that it runs and can be reached, or correct BACKSTAY_LOCKS",
        )
    return f"{place} takes connections"


async def _repository(cloud: Cloud) -> str:
    """Read the repository's configuration by its password. Raises BackupError."""
    folder = folder_of(cloud)
    where = cloud.backup.repository or str(folder / "repository")
    password, shown = cloud.backup.password_file or folder / "password", without(where)
    attempted = f"reading the repository {shown}"
    if not await asyncio.to_thread(password.exists):
        if cloud.backup.password_file is None and not has_backups(folder):
            return "it will be made by the first backup"
        raise BackupError(
            attempted,
            came_back=f"there is no file {password} with its password",
            remedy="put it there again: without it no backup can be read"
            if has_backups(folder)
            else f"make one: (umask 077; openssl rand -base64 32 >{quoted(str(password))})",
        )
    try:
        trouble = await restic_reading.trouble(where, password, bound=REPOSITORY_BOUND - 2)
    except FileNotFoundError:
        raise BackupError(
            attempted, came_back="this machine has no restic", remedy="apt-get install restic"
        ) from None
    if not trouble:
        return f"{shown} can be read by its password"
    if _is_none(trouble) and not has_backups(folder):
        return f"{shown} will be made by the first backup"
    raise BackupError(attempted, came_back=f"{shown}: {trouble}", remedy=_remedy(trouble))


def without(repository: str) -> str:
    """Return a repository's location without a password in it. Pure."""
    kind, found, url = repository.partition(":")
    if found and "://" in url:
        return f"{kind}:{without_secrets(url, path=True)}"
    return without_secrets(repository, path=True) if "://" in repository else repository


def has_backups(folder: Path) -> bool:
    """Return whether the catalogue has any: then there must be a repository."""
    try:
        return any((folder / "catalogue").iterdir())
    except OSError:
        return False


def _is_none(trouble: str) -> bool:
    low = trouble.lower()
    return "is there a repository" in low or "unable to open config" in low or "not exist" in low


def _remedy(trouble: str) -> str:
    if "password" in trouble.lower() or "no key found" in trouble.lower():
        return "name the file with its own password under `password_file` in cloud.yaml"
    if _is_none(trouble):
        return (
            "the catalogue has backups, and here is no repository: is its disk mounted, is "
            "`repository` under `backup` in cloud.yaml right?"
        )
    return "see whether its server or disk is there, and `repository` under `backup` in cloud.yaml"
