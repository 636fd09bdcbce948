"""The form in which each service declares what it consists of and how to ask whether it works.

A service is data plus a few short functions. Functions that *ask* reach the outside only through
their arguments; functions that *judge* are pure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from backstay.finding import Severity
from backstay.inventory.enums import Flavour, Role
from backstay.jsondata import Json
from backstay.services.broker_way import BrokenLink
from backstay.services.messaging import Messaging, RpcEndpoint
from backstay.transports.targets import Endpoint
from backstay.transports.tls import Trust


class Api(Protocol):
    """The APIs of one cloud, authenticated. Calls block (they run on threads) and are bounded.

    Each raises ApiUnreachable, ApiRefused or ApiFailed. ``service_type`` is a catalogue type
    (``image``, ``compute``); ``path`` begins with ``/``, or is empty, and may carry a query.
    """

    @property
    def auth_url(self) -> str:
        """Return the URL at which tokens are asked for."""

    @property
    def trust(self) -> Trust:
        """Return what servers' certificates are checked against."""

    def get(self, service_type: str, path: str, headers: Mapping[str, str] | None = None) -> Json:
        """Return the decoded JSON of ``GET path`` at the catalogue's endpoint.

        ``path`` is appended to the endpoint as the catalogue gives it (``/v2/images``).
        ``headers`` are sent as well: a microversion, say.
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
    """A systemd unit that a role requires."""

    name: str
    """Without ``.service``."""
    role: Role
    purpose: str
    """What users lose when it does not run: ``no new instances can be built``."""
    ports: tuple[int, ...] = ()
    """TCP ports that must be listening on the host."""
    socket: str = ""
    """The socket unit that starts it on demand: with that listening, the unit need not run."""
    agent: str = ""
    """The binary under which its process reports to its API, where it does."""
    serves: str = ""
    """What the instances on its network get from it while they run (``DHCP``)."""
    if_found: bool = False
    """Whether it is required only where systemd knows it, as clouds do the same in other ways."""
    one_of: str = ""
    """What it does that one of the units of this name must do on a host: ``the network of
    instances``."""
    flavour: Flavour = Flavour.DEBIAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judgement on one answer, before it is attributed to a host."""

    subject: str
    severity: Severity
    evidence: str
    remedy: str = ""
    """In that of a host's probe ``{ssh}`` stands for the command that reaches the host
    (``ssh root@10.0.0.11``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProbe:
    """A question that a host answers about itself (a query to its own database, say)."""

    name: str
    roles: tuple[Role, ...]
    ask: Callable[[], Any]
    """Sent to the host as source text and run by its ``python3`` (3.6 or newer), as root. What it
    uses of its module goes with it: functions, constants, imports of the standard library. It
    returns JSON-serialisable data without secrets."""
    returns: Any
    """The form of that data, as a type that ``answers.read`` knows. An answer of another form is
    a finding of its own, and is not judged."""
    judge: Callable[[Any], Sequence[Verdict]]
    """Turns a value of that type into verdicts. Pure."""
    bound: float = 8.0
    """Seconds after which it is given up, so its own waits should be shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiProbe:
    """A question to the service's API, the answer to which proves that it works."""

    name: str
    ask: Callable[[Api], Sequence[Verdict]]
    """Returns the verdicts on its answer. Errors of the API may be raised: the caller makes them
    findings."""
    first: bool = False
    """Whether nothing else can be asked before this has succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiLivenessProbe:
    """A cheap question to the service's API that the watch asks every second.

    Every status below 500 is an answer.
    """

    name: str
    service_type: str
    path: str
    """Asked as ``Api.get`` does, with a token."""
    method: str = "GET"
    own_token: bool = False
    """Whether the token is also what is asked about."""
    at_root: bool = False
    """Whether ``path`` is below the endpoint's host and port, and asked without a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLivenessProbe:
    """A cheap question that a host answers about itself, again and again."""

    name: str
    roles: tuple[Role, ...]
    ask: Callable[[dict[str, Any]], str]
    """Sent to the host as a HostProbe's ``ask``, and called with a dictionary in which it may keep
    things (a connection, say) until an error. It returns what it saw in a few words, or raises:
    OSError (a timeout is one that did not come in time) or what its protocol raises."""
    every: float = 1.0
    """Seconds between two questions."""
    bound: float = 1.5
    """Seconds after which an answer is late."""
    way: Callable[[str, str, Callable[[str], str]], BrokenLink | None] | None = None
    """Set where it asks for the way from this host to the broker: what fails then are the host's
    agents, not the service. Called with the error's text, the host's name, and what returns a
    host's name by its address. Pure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A service process that works for the controller through the broker, as its API reports it."""

    binary: str
    host: str
    """The name under which it reports, without a back end's (``controller@ceph``)."""
    up: bool
    enabled: bool
    heartbeat: datetime | None
    """The time of its last report (UTC, aware), None where the API gives none."""
    interval: float
    """Seconds between two reports."""
    down_after: float
    """Seconds without a report after which the API calls it down."""
    times_read: bool = False
    """Whether these two are the cloud's own settings; else they are OpenStack's defaults, which
    a cloud may have raised: then its API alone knows who is late."""
    reports: bool = True
    """Whether ``heartbeat`` is the time of a report of its own; else only ``up`` counts."""
    forced_down: bool = False
    """Whether an operator has called it down, however alive it is."""
    activate: str = ""
    """The command that puts it back into service, where one has taken it out."""
    note: str = ""
    server: str = ""
    """How messages to it are addressed, where that differs from ``host``."""

    @property
    def rpc_target(self) -> str:
        """Return the name by which messages reach it."""
        return self.server or self.host

    @property
    def in_service(self) -> bool:
        """Return whether it is meant to work: nobody has disabled it or called it down."""
        return self.enabled and not self.forced_down


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlightTask:
    """Work that a service has under way, and that would be interrupted by taking it down."""

    what: str
    """The object: ``server web1``."""
    doing: str
    """What happens to it: ``building``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Something of the users' that runs on a host and has addresses: an instance."""

    name: str
    host: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """Something that must hold between databases."""

    says: str
    """Names what is broken when there are rows."""
    broken: str
    """A query for what breaks it: one text column, a row for each object."""
    needs: tuple[str, ...]
    """The services whose databases it reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrations:
    """How a database gets its schema, of a service that uses alembic."""

    versions: str
    """The folder of its versions, relative to where Python packages are."""
    sync: str
    """The command that brings the schema to what the installed release expects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """How the message broker reports who is connected.

    All three functions are sent to a host as a HostProbe's ``ask``.
    """

    ask: Callable[[], Any]
    probe: HostProbe
    """Asks the same, only where it costs next to nothing."""
    poll: Callable[[], Any]
    """Asks without a login, every few seconds."""
    returns: Any
    """What each answers, as a type that ``answers.read`` knows."""
    read: Callable[[Any], Messaging]
    """Turns that into what it says. Pure."""
    ports: tuple[int, ...]
    """Where its clients connect to."""
    role: Role
    """That of its hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseServer:
    """How the server that keeps the services' databases is read, where one service is that."""

    read: Callable[[Json, Json], Json]
    """Runs on the host, shipped as a HostProbe's ``ask``: called with queries by name and a bound
    in seconds, it answers all of them as of one moment. By name it returns ``value``, with
    ``columns`` (names) and ``rows`` (texts), or ``error``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Autostart:
    """Whether workloads start again when their host does."""

    setting: str
    """The setting's name, for the operator."""
    ask: Callable[[], bool | None]
    """Runs on the host, shipped as a HostProbe's ``ask``; None where the setting is not found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """All that Backstay knows about one service.

    What is compared with reality and what a smoke test makes stand beside this declaration, in the
    folder's ``reconcile.py`` and ``smoke_test.py``: see ``registry``.
    """

    name: str
    """As operators call it (``nova``); the name of its folder."""
    title: str
    """As it stands in headings (``Compute (nova)``)."""
    restore_order: int
    """When it is started after a restore, lowest first."""

    # What runs, and whether it works.

    units: tuple[Unit, ...] = ()
    """What must run, by role."""
    other_units: tuple[Unit, ...] = ()
    """What some clouds run instead or besides: checked on the hosts on which it is found."""
    host_probes: tuple[HostProbe, ...] = ()
    """What `check` asks its hosts."""
    api_probes: tuple[ApiProbe, ...] = ()
    """What `check` asks its API."""
    host_liveness: tuple[HostLivenessProbe, ...] = ()
    """What the watch asks its hosts all the time."""
    api_liveness: tuple[ApiLivenessProbe, ...] = ()
    """What the watch asks its API all the time."""
    endpoint_types: tuple[str, ...] = ()
    """The catalogue's types of its API, the one in use first."""

    # Its agents, and the broker that takes messages to them.

    agents: Callable[[Api], Sequence[Agent]] | None = None
    """Returns its agents as the API reports them; raises as ``Api``."""
    report_times: HostProbe | None = None
    """What its configuration on a host says of its agents' reports: ``reporting.ReportTimes``."""
    rpc_endpoints: tuple[RpcEndpoint, ...] = ()
    """How its agents are reached, for every kind there may be."""
    broker: Broker | None = None
    """Set by the service that takes the messages."""

    # What users have on it.

    in_flight: Callable[[Api], Sequence[InFlightTask]] | None = None
    """Returns the work that is under way; raises as ``Api``."""
    workloads: Callable[[Api], Sequence[Workload]] | None = None
    """Returns what runs of the users' own; raises as ``Api``."""
    running: Callable[[], Any] | None = None
    """The same where no API can tell. Runs on the hosts that have the service, shipped as a
    HostProbe's ``ask``; returns pairs of a name and its addresses."""
    emulators: tuple[str, ...] = ()
    """How the names of the programs begin that workloads run in."""
    autostart: Autostart | None = None
    """Whether its workloads start again with their host."""

    # What a backup must hold, and how it is put back.

    databases: tuple[str, ...] = ()
    """Names of its databases."""
    database_server: DatabaseServer | None = None
    """Set by the service that keeps the databases of all."""
    migrations: Mapping[str, Migrations] = field(default_factory=dict)
    """How each of its ``databases`` comes by its schema."""
    invariants: tuple[Invariant, ...] = ()
    """What must be true of its databases."""
    paths: tuple[str, ...] = ()
    """Files and directories on its hosts."""
    leave_out: tuple[str, ...] = ()
    """What of ``paths`` is left out: shell patterns of whole paths."""
    followed: tuple[str, ...] = ()
    """Those of ``paths`` whose new files must be saved before the next backup, as records name
    them."""
    stored_files: str = ""
    """A query for the files that its records name: columns path, digest's algorithm (as hashlib
    calls it), digest."""
    exports: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Commands by the name of a file that their output is saved as."""
    put_back: Callable[[Mapping[str, str]], Any] | None = None
    """Runs on a host on which the service runs again after a restore, shipped as a HostProbe's
    ``ask``; called with the outputs of ``exports`` by name."""
    repository_variables: tuple[str, ...] = ()
    """How the names of the environment variables begin that restic needs for a repository in it."""

    @property
    def keeps_databases(self) -> bool:
        """Whether the databases of all services are in it."""
        return self.database_server is not None

    def units_on(self, roles: Iterable[Role], flavour: Flavour) -> tuple[Unit, ...]:
        """Return the units that a host with ``roles`` must run, as ``flavour`` names them."""
        mine = set(roles)
        return tuple(u for u in self.units if u.role in mine and u.flavour is flavour)
