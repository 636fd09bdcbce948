"""What each command needs, as data. ``read_*`` read, ``judge_*`` judge; neither knows a command."""

from collections.abc import Iterable, Mapping
from enum import StrEnum


class Topic(StrEnum):
    """What a command may need; the values are those of the JSON output."""

    PYTHON_PACKAGES = "python-packages"
    """What Backstay itself is made of."""
    CLOUD_FILE = "cloud-file"
    SECRETS = "secrets"
    """Files with secrets are for this user alone."""
    JOURNAL = "journal"
    """The database of runs and incidents: its driver, its place, its room."""
    LOCKS = "locks"
    PING = "ping"
    """The right to ask an address by ICMP."""
    TEMPORARY = "temporary-folder"
    SYSTEMD = "systemd"
    """What installs units, here; what starts and stops services, on hosts."""
    OWN_CODE = "own-code"
    """Units run Backstay as root: nobody else may change it."""
    API = "api"
    """Credentials, and a token by them."""
    CLOCK = "clock"
    SSH_PROGRAM = "ssh-program"
    """Here: what reads ~/.ssh/config, and what remedies are pasted for."""
    LOGIN = "login"
    """A host lets this user in, and its key is known."""
    PYTHON = "python3"
    ROOT = "root"
    """The login is root, or becomes root by sudo without a question."""
    BMC = "bmc"
    RPC_PING = "rpc-ping"
    CHANNELS = "channels"
    WATCH_UNIT = "watch-unit"
    STREAM_UNITS = "stream-units"
    RESTIC = "restic"
    REPOSITORY = "repository"
    BACKUP_FOLDER = "backup-folder"
    DATABASE_PROGRAMS = "database-programs"
    """Here: what a backup is restored into to verify it."""
    DATABASE_RELEASE = "database-release"
    """Here: a server of the hosts' release, by which databases are made for them."""
    STREAM_PROGRAMS = "stream-programs"
    """Here: what receives the database's log."""
    SANDBOX = "sandbox"
    DATABASE = "database"
    """On its host: it answers, and what takes its backup is there."""
    DATABASE_LOG = "database-log"
    """It writes a log that can be received and replayed."""
    PROVISION = "provision"
    """What builds hosts."""
    HOOKS = "hooks"
    """The site's own commands are there."""
    LAB = "lab"


class Level(StrEnum):
    """How much a command depends on it."""

    NEEDED = "needed"
    OPTIONAL = "optional"


def _needs(needed: Iterable[Topic], optional: Iterable[Topic] = ()) -> Mapping[Topic, Level]:
    found = dict.fromkeys(optional, Level.OPTIONAL) | dict.fromkeys(needed, Level.NEEDED)
    return {Topic.SSH_PROGRAM: Level.OPTIONAL} | found if Topic.LOGIN in found else found


_T = Topic
_ALWAYS = (_T.PYTHON_PACKAGES, _T.CLOUD_FILE)
_HOSTS = (_T.LOGIN, _T.PYTHON, _T.ROOT)
_RUNS = (_T.JOURNAL, _T.LOCKS)
_AGENTS = (_T.RPC_PING,)
_STORED = (_T.RESTIC, _T.REPOSITORY, _T.BACKUP_FOLDER)
_PROOF = (_T.DATABASE_PROGRAMS, _T.SANDBOX)
_NICE = (_T.SECRETS, _T.TEMPORARY)

NEEDS: Mapping[str, Mapping[Topic, Level]] = {
    "check": _needs(
        (*_ALWAYS, *_HOSTS, _T.API, _T.CLOCK),
        (*_NICE, *_AGENTS, _T.PING, _T.BMC, _T.SYSTEMD),
    ),
    "watch": _needs(
        (*_ALWAYS, *_HOSTS, *_RUNS, _T.API, _T.CLOCK, _T.CHANNELS),
        (*_NICE, *_AGENTS, _T.PING, _T.BMC, _T.SYSTEMD, _T.WATCH_UNIT, _T.OWN_CODE),
    ),
    "reboot": _needs(
        (*_ALWAYS, *_HOSTS, *_RUNS, _T.API, _T.CLOCK, _T.SYSTEMD, _T.HOOKS),
        (*_NICE, *_AGENTS, _T.PING, _T.BMC),
    ),
    "backup": _needs(
        (*_ALWAYS, *_HOSTS, *_RUNS, *_STORED, *_PROOF, _T.DATABASE, _T.TEMPORARY),
        (_T.SECRETS, _T.SYSTEMD, _T.OWN_CODE),
    ),
    "stream": _needs(
        (
            *_ALWAYS,
            *_HOSTS,
            _T.BACKUP_FOLDER,
            _T.STREAM_PROGRAMS,
            _T.SANDBOX,
            _T.DATABASE,
            _T.DATABASE_LOG,
            _T.TEMPORARY,
        ),
        (_T.SECRETS, _T.SYSTEMD, _T.STREAM_UNITS, _T.OWN_CODE),
    ),
    "restore": _needs(
        (*_ALWAYS, *_HOSTS, *_RUNS, *_STORED, *_PROOF, _T.SYSTEMD, _T.TEMPORARY),
        (_T.SECRETS, _T.API, _T.DATABASE, _T.DATABASE_LOG, _T.DATABASE_RELEASE),
    ),
    "replace": _needs(
        (
            *_ALWAYS,
            *_HOSTS,
            *_RUNS,
            *_STORED,
            *_PROOF,
            _T.API,
            _T.CLOCK,
            _T.BMC,
            _T.DATABASE_RELEASE,
            _T.PROVISION,
            _T.SYSTEMD,
            _T.TEMPORARY,
        ),
        (_T.SECRETS, *_AGENTS, _T.PING, _T.DATABASE, _T.DATABASE_LOG),
    ),
    "reconcile": _needs((*_ALWAYS, *_HOSTS, *_RUNS, _T.API), _NICE),
    "reattach": _needs(
        (*_ALWAYS, *_HOSTS, *_RUNS, _T.API, _T.CLOCK, _T.SYSTEMD), (*_NICE, *_AGENTS)
    ),
    "lab": _needs((_T.PYTHON_PACKAGES, _T.LAB)),
}
"""By the name of a command. The lab, which is for practice, is looked at only when it is named."""

COMMANDS = tuple(name for name in NEEDS if name != "lab")


def topics_of(commands: Iterable[str]) -> frozenset[Topic]:
    """Return all that these commands need or can use. Pure."""
    return frozenset(topic for command in commands for topic in NEEDS[command])
