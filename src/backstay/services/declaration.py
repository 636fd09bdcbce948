"""The form in which each service says what it consists of and how it is asked whether it works.

A service is data plus a few short functions. Functions that *ask* touch the outside only through
what they are given; functions that *judge* are pure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from backstay.finding import Severity
from backstay.inventory.enums import Flavour, Role
from backstay.jsondata import Json
from backstay.services.messaging import Messaging, RpcEndpoint
from backstay.transports.targets import Endpoint


class Api(Protocol):
    """The APIs of one cloud, authenticated. Calls block (they run on threads) and are bounded.

    Each raises ApiUnreachable, ApiRefused or ApiFailed. ``service_type`` is a catalogue type
    (``image``, ``compute``); ``path`` begins with ``/``, or is empty, and may carry a query.
    """

    @property
    def auth_url(self) -> str:
        """Return the URL at which tokens are asked for."""

    @property
    def ca(self) -> Path | None:
        """Return the file of certificates that servers are checked against, None the system's."""

    def get(self, service_type: str, path: str) -> Json:
        """Return the decoded JSON of ``GET path`` at the catalogue's endpoint.

        ``path`` is appended to the endpoint as the catalogue gives it (``/v2/images``).
        """

    def head(self, service_type: str, path: str) -> Mapping[str, str]:
        """Return the response headers (lower-case names) of ``HEAD path``."""

    def authenticate(self) -> Mapping[str, Any]:
        """Return a fresh token's data (``user``, ``project``, ``expires_at``), never the token."""

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the catalogue's endpoints in the cloud's region."""

    def post(self, service_type: str, path: str, body: Any) -> Any:  # noqa: ANN401 - as get
        """Send ``body`` as JSON by POST and return the decoded answer, None where it is empty."""

    def put(
        self,
        service_type: str,
        path: str,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send ``content`` as it is by PUT (``application/octet-stream`` if not said)."""

    def read(self, service_type: str, path: str) -> bytes:
        """Return the body of ``GET path`` as it is."""

    def delete(
        self, service_type: str, path: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Delete by DELETE; what is already gone (404) is deleted. ``headers`` as ``put``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A systemd unit that a role requires: ``name`` without ``.service``.

    ``ports`` are TCP ports that must be listening on the host. ``purpose`` says what users lose
    when it does not run ("no new instances can be built"). ``socket`` is the socket unit that
    starts it on demand: with that listening, the unit itself may rest. ``agent`` is the binary
    under which the unit's process reports to its API, where it does. ``serves`` is what the
    instances on its network get from it while they run (``DHCP``), empty where they get nothing.
    """

    name: str
    role: Role
    purpose: str
    ports: tuple[int, ...] = ()
    socket: str = ""
    agent: str = ""
    serves: str = ""
    flavour: Flavour = Flavour.DEBIAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judgement on one answer, before it is bound to a host.

    In ``remedy`` of a host's probe, ``{ssh}`` stands for the command that reaches the host
    (``ssh root@10.0.0.11``).
    """

    subject: str
    severity: Severity
    evidence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProbe:
    """A question that a host answers about itself (a query to its own MariaDB, say).

    ``ask`` is shipped to the host as source text and run by its ``python3`` (3.6 or newer), as
    root. What it uses of its module goes with it: functions, constants, imports of the standard
    library. It returns JSON-serialisable data without secrets; ``bound`` is after how many
    seconds it is given up, so its own waits should be shorter. ``judge`` turns that data into
    verdicts, without I/O.
    """

    name: str
    roles: tuple[Role, ...]
    ask: Callable[[], Any]
    judge: Callable[[Any], Sequence[Verdict]]
    bound: float = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiProbe:
    """A question to the service's API, whose answer proves that it works ("image list").

    ``ask`` returns the verdicts on its answer; errors of the API may be raised, the caller makes
    them findings. Where ``first`` is set nothing else can be asked before this has succeeded.
    """

    name: str
    ask: Callable[[Api], Sequence[Verdict]]
    first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiLivenessProbe:
    """A cheap question to the service's API that the watch asks every second.

    ``path`` is asked as ``Api.get`` has it, with a token; where ``at_root``, below the endpoint's
    host and port, without one. Where ``own_token`` the token is also what is asked about. Every
    status below 500 is an answer.
    """

    name: str
    service_type: str
    path: str
    method: str = "GET"
    own_token: bool = False
    at_root: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLivenessProbe:
    """A cheap question that a host answers about itself, again and again.

    ``ask`` is shipped as a HostProbe's, and called with a dictionary that it may keep things in (a
    connection, say) until an error. It returns what it saw in a few words, or raises: OSError (a
    timeout is one that did not come in time) or what its protocol raises. ``every`` and ``bound``
    are in seconds.
    """

    name: str
    roles: tuple[Role, ...]
    ask: Callable[[dict[str, Any]], str]
    every: float = 1.0
    bound: float = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A service process that works for the controller through RabbitMQ, as its API reports it.

    ``host`` is the name under which it reports, without a back end's (``controller@ceph``);
    ``server`` is how messages to it are addressed, where that is something else.
    ``heartbeat`` is the time (UTC, aware) of its last report, None where the API gives none.
    ``interval`` is how often it should report, in seconds; ``down_after`` is after how many
    seconds the API calls it down.
    """

    binary: str
    host: str
    up: bool
    enabled: bool
    heartbeat: datetime | None
    interval: float
    down_after: float
    note: str = ""
    server: str = ""

    @property
    def rpc_target(self) -> str:
        """Return the name by which messages reach it."""
        return self.server or self.host


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlightTask:
    """Work that a service has under way, and that would be torn by taking it down.

    ``what`` names the object (``server web1``), ``doing`` is what happens to it (``building``).
    """

    what: str
    doing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Something of the users' that runs on a host and has addresses: an instance."""

    name: str
    host: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """Something that holds between databases: ``broken`` is a query for what breaks it.

    It gives one text column, a row for each thing. ``needs`` are the services whose databases it
    reads. ``says`` names what is broken when there are rows.
    """

    says: str
    broken: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrations:
    """How a database comes by its schema, of a service that uses alembic.

    ``versions`` is the folder of its versions, relative to where Python packages are; ``sync`` is
    the command that brings the schema to what the installed release expects.
    """

    versions: str
    sync: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """How the message broker tells who is connected: ``ask`` is shipped as a HostProbe's is.

    ``probe`` asks the same, only where it costs next to nothing; ``glance`` asks without a login,
    every few seconds. ``ports`` are where its clients connect to, ``role`` is that of its hosts.
    """

    ask: Callable[[], Any]
    probe: HostProbe
    glance: Callable[[], Any]
    read: Callable[[Mapping[str, Any]], Messaging]
    ports: tuple[int, ...]
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """All that Backstay knows about one service.

    ``databases`` and ``paths`` (files and directories on the role's hosts) are what a backup
    must hold, but for what ``leave_out`` matches (shell patterns of whole paths); ``followed``
    are those of them whose new files must be here before the next backup, as records name them;
    ``invariants`` are what must be true of them, ``stored_files`` a query for the files that
    its records name: three columns of path, digest's algorithm (as hashlib calls it) and
    digest. ``migrations`` are those of its ``databases``. ``exports`` are commands by the name
    of a file: their output belongs into a backup too. ``put_back`` is shipped to a host on
    which the service runs again after a restore, and called with these outputs by name.
    ``keeps_databases`` marks the one in which all databases are. ``restore_order`` says when it
    is started after a restore, lowest first. ``endpoint_types`` are the catalogue's types of
    its API, the one in use first. ``in_flight`` asks for work under way, ``workloads`` for
    what runs of the users' own; both raise as ``Api``. ``running`` is shipped to the hosts that
    run the service, and tells the same where no API can: pairs of a name and its addresses.
    ``rpc_endpoint`` says how its agents are reached, for every kind there may be; ``broker`` is
    set by the service through which they are.
    """

    name: str
    title: str
    restore_order: int
    units: tuple[Unit, ...] = ()
    databases: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    followed: tuple[str, ...] = ()
    invariants: tuple[Invariant, ...] = ()
    stored_files: str = ""
    migrations: Mapping[str, Migrations] = field(default_factory=dict)
    exports: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    put_back: Callable[[Mapping[str, str]], Any] | None = None
    keeps_databases: bool = False
    host_probes: tuple[HostProbe, ...] = ()
    api_probes: tuple[ApiProbe, ...] = ()
    api_pulses: tuple[ApiLivenessProbe, ...] = ()
    host_pulses: tuple[HostLivenessProbe, ...] = ()
    agents: Callable[[Api], Sequence[Agent]] | None = None
    in_flight: Callable[[Api], Sequence[InFlightTask]] | None = None
    workloads: Callable[[Api], Sequence[Workload]] | None = None
    running: Callable[[], Any] | None = None
    rpc_endpoint: tuple[RpcEndpoint, ...] = ()
    broker: Broker | None = None
    endpoint_types: tuple[str, ...] = field(default=())

    def units_on(self, roles: Iterable[Role], flavour: Flavour) -> tuple[Unit, ...]:
        """Return the units that a host with ``roles`` must run, as ``flavour`` names them."""
        mine = set(roles)
        return tuple(u for u in self.units if u.role in mine and u.flavour is flavour)
