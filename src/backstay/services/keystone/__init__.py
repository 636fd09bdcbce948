"""keystone: identities, tokens and the catalogue."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from backstay.finding import Severity
from backstay.inventory.enums import Role
from backstay.services.declaration import (
    Api,
    ApiLivenessProbe,
    ApiProbe,
    Migrations,
    Service,
    Unit,
    Verdict,
)
from backstay.services.records import Listing, as_time, ask_list

PROJECTS = Listing(
    service_type="identity", path="/v3/projects", key="projects", noun="project", nouns="projects"
)


def ask_token(api: Api) -> Sequence[Verdict]:
    """Ask for a fresh token."""
    return [judge_token(api.authenticate(), now=datetime.now(UTC))]


def judge_token(token: Mapping[str, Any], *, now: datetime) -> Verdict:
    """Judge a token's data: it must still be valid ``now``. Pure."""
    expires = as_time(token.get("expires_at"))
    if expires is not None and expires <= now:
        return Verdict(
            subject="token",
            severity=Severity.FAILED,
            evidence=f"a fresh token is already expired ({expires:%H:%M:%S} UTC)",
            remedy="compare the clocks of the controller and of this machine: date -u",
        )
    hours = f", valid for {(expires - now).total_seconds() / 3600:.1f} h" if expires else ""
    return Verdict(subject="token", severity=Severity.OK, evidence=f"issued{hours}")


def ask_projects(api: Api) -> Sequence[Verdict]:
    """List the projects, as ``openstack project list`` does."""
    return ask_list(api, PROJECTS)


SERVICE = Service(
    name="keystone",
    title="Identity (keystone)",
    restore_order=30,
    units=(
        Unit(
            name="keystone",
            role=Role.CONTROLLER,
            purpose="nobody can log in and no API accepts a new token",
            ports=(5000,),
        ),
    ),
    databases=("keystone",),
    migrations={
        "keystone": Migrations(
            versions="keystone/common/sql/migrations/versions", sync="keystone-manage db_sync"
        ),
    },
    paths=("/etc/keystone",),  # with fernet-keys and credential-keys: without them all is void
    followed=("/etc/keystone/fernet-keys", "/etc/keystone/credential-keys"),
    api_probes=(
        ApiProbe(name="token", ask=ask_token, first=True),
        ApiProbe(name="project list", ask=ask_projects),
    ),
    # Its own token, validated as all services have theirs validated.
    api_liveness=(
        ApiLivenessProbe(
            name="token validation",
            service_type="identity",
            path="/v3/auth/tokens",
            own_token=True,
        ),
    ),
    endpoint_types=("identity",),
)
