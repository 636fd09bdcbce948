"""What is watched, who is notified, what may be done automatically: ``watch:`` in cloud.yaml."""

from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, model_validator

from backstay.inventory.account import Credentials
from backstay.inventory.fields import Duration, Label, Part
from backstay.inventory.secret import BesideFile, Secret

WebUrl = Annotated[str, Field(pattern=r"^https?://[^/\s]+")]


class Email(Part):
    """Mail by SMTP. ``tls`` is ``starttls``, ``tls`` from the first byte, or ``none``.

    The password is only sent where the connection is encrypted.
    """

    server: str
    port: int = Field(default=587, ge=1, le=65535)
    sender: str = Field(alias="from")
    to: tuple[str, ...] = Field(min_length=1)
    tls: Literal["starttls", "tls", "none"] = "starttls"
    ca: BesideFile | None = None
    username: str | None = None
    password: Secret | None = None


class Webhook(Part):
    """A JSON document by POST; ``token`` goes into its Authorization header as a bearer's."""

    url: WebUrl
    token: Secret | None = None
    ca: BesideFile | None = None


class Alertmanager(Part):
    """An Alertmanager: alerts are posted to its API v2, again and again while they last."""

    url: WebUrl
    username: str | None = None
    password: Secret | None = None
    ca: BesideFile | None = None


class Apprise(Part):
    """Any of apprise's addresses, which mostly hold a secret: https://appriseit.com/services/."""

    url: Secret


class Channel(Part):
    """One way to notify people: exactly one of the four.

    ``least`` is the urgency from which on it is used. ``fallback`` is used only where another
    channel has failed.
    """

    email: Email | None = None
    webhook: Webhook | None = None
    alertmanager: Alertmanager | None = None
    apprise: Apprise | None = None
    least: Literal["warning", "critical"] = "warning"
    fallback: bool = False

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = (self.email, self.webhook, self.alertmanager, self.apprise)
        if sum(one is not None for one in given) != 1:
            raise ValueError("expected exactly one of email, webhook, alertmanager and apprise")
        return self


class Right(StrEnum):
    """What a person may do on the page and by its API; who may act may read."""

    READ = "read"
    ACT = "act"


class Person(Part):
    """A person or program that may use the page: by a token of at least 16 characters."""

    token: Secret
    may: Right = Right.READ


def _listens(given: str) -> str:
    host, _, port = given.rpartition(":")
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        raise ValueError(f"`{given}` is not an IP address and a port, as 127.0.0.1:8484") from None
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"`{given}` has no port: 127.0.0.1:8484")
    return given


class Page(Part):
    """The status page: where it listens, who may use it.

    Without ``people`` it may listen on loopback only, where anyone may read and no one may act.
    Elsewhere it wants ``certificate`` and ``key`` (files in PEM).
    """

    listen: Annotated[str, AfterValidator(_listens)] = "127.0.0.1:8484"
    certificate: BesideFile | None = None
    key: BesideFile | None = None
    people: dict[Label, Person] = {}

    @property
    def address(self) -> tuple[str, int]:
        """Return the IP address and the port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def on_loopback(self) -> bool:
        """Return whether only this machine can reach it."""
        return ip_address(self.address[0]).is_loopback

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate` and `key` go together")
        if not self.on_loopback and not (self.people and self.certificate):
            raise ValueError(
                f"`{self.listen}` can be reached from elsewhere: it needs `people`, `certificate` "
                "and `key`; or let it listen on 127.0.0.1"
            )
        return self


def _notify(given: object) -> object:
    """Accept ``tell``, the word of files written before 0.1, for ``notify``."""
    return "notify" if given == "tell" else given


_Old = BeforeValidator(_notify)


class Policy(Part):
    """What the watch may do without being asked.

    ``notify`` only notifies. ``ask`` plans the action and sends the plan with an approval that can
    be used once.

    Attributes:
        service_failed: ``restart`` restarts the failed units of the service.
        agent_not_processing: ``reattach`` restarts agents that do not process RPC messages.
        controller_dead: ``replace`` rebuilds a dead controller on its spare.
        fenced_host_on: ``power-off`` cuts the power of a fenced host that is on by its BMC.
        attempts: How often an action is tried for one incident.
        cool_down: Seconds without any action after one has ended.
        approval: Seconds for which an approval may be given.

    """

    service_failed: Annotated[Literal["notify", "restart"], _Old] = Field(
        default="notify", alias="service-failed"
    )
    agent_not_processing: Annotated[Literal["notify", "reattach"], _Old] = Field(
        default="notify",
        alias="agent-not-processing",
        validation_alias=AliasChoices("agent-not-processing", "agent-deaf"),
    )
    controller_dead: Annotated[Literal["notify", "ask", "replace"], _Old] = Field(
        default="notify", alias="controller-dead"
    )
    fenced_host_on: Literal["notify", "power-off"] = Field(default="notify", alias="fenced-host-on")
    attempts: int = Field(default=2, ge=1, le=10)
    cool_down: Duration = 600.0
    approval: Duration = 3600.0

    @property
    def acts(self) -> tuple[str, ...]:
        """Return what it does without being asked, as cloud.yaml writes it; empty for nothing."""
        chosen = {
            "service-failed": self.service_failed,
            "agent-not-processing": self.agent_not_processing,
            "controller-dead": self.controller_dead,
            "fenced-host-on": self.fenced_host_on,
        }
        return tuple(f"{name}: {does}" for name, does in chosen.items() if does != "notify")


class Watch(Part):
    """Under ``watch:`` in cloud.yaml; all durations may be written as ``10m``.

    ``every`` is how often the quick questions are asked, ``agents`` how often agents are looked at,
    ``check`` how often everything is. ``late`` is after how long an answer counts as not coming.
    ``recovered`` is for how long a thing must answer again before that is believed. ``keep`` is how
    long history and closed incidents are kept. ``credentials`` are of an account with few rights,
    by which the APIs are asked every second; the cloud's own if left out.
    """

    every: Duration = 1.0
    agents: Duration = 5.0
    check: Duration = 60.0
    late: Duration = 1.5
    recovered: Duration = 10.0
    keep: Duration = 30 * 86400.0
    credentials: Credentials | None = None
    channels: dict[Label, Channel] = {}
    policy: Policy = Policy()
    page: Page = Page()
