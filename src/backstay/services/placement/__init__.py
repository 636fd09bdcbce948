"""placement: what resources there are and who holds them."""

from collections.abc import Mapping, Sequence
from typing import Any

from backstay.finding import Severity
from backstay.inventory.enums import Role
from backstay.services.declaration import (
    Api,
    ApiLivenessProbe,
    ApiProbe,
    Invariant,
    Migrations,
    Service,
    Unit,
    Verdict,
)


def ask_providers(api: Api) -> Sequence[Verdict]:
    """List the resource providers."""
    return [judge_providers(api.get("placement", "/resource_providers"))]


def judge_providers(answer: Any) -> Verdict:  # noqa: ANN401 - whatever the API sent
    """Judge the decoded answer. Pure. The API knows no pages: all providers come at once."""
    subject = "resource provider list"
    records = answer.get("resource_providers") if isinstance(answer, Mapping) else None
    if not isinstance(records, list):
        return Verdict(
            subject=subject,
            severity=Severity.FAILED,
            evidence="the answer holds no list `resource_providers`",
            remedy="see whether the endpoint in the catalogue is placement's",
        )
    word = "provider" if len(records) == 1 else "providers"
    evidence = f"{len(records)} resource {word}"
    return Verdict(subject=subject, severity=Severity.OK, evidence=evidence)


SERVICE = Service(
    name="placement",
    title="Placement",
    restore_order=50,
    units=(
        Unit(
            name="placement-api",
            role=Role.CONTROLLER,
            purpose="no new instances can be scheduled",
            ports=(8778,),
        ),
    ),
    databases=("placement",),
    migrations={
        "placement": Migrations(
            versions="placement/db/sqlalchemy/alembic/versions", sync="placement-manage db sync"
        ),
    },
    paths=("/etc/placement",),
    invariants=(
        Invariant(
            says="allocations of instances that are not there",
            broken="SELECT DISTINCT a.consumer_id FROM placement.allocations a LEFT JOIN "
            "nova.instances i ON i.uuid = a.consumer_id AND i.deleted = 0 LEFT JOIN "
            "nova.migrations m ON m.uuid = a.consumer_id WHERE i.uuid IS NULL AND m.uuid IS NULL",
            needs=("placement", "nova"),
        ),
    ),
    api_probes=(ApiProbe(name="resource provider list", ask=ask_providers),),
    api_liveness=(
        ApiLivenessProbe(
            name="one provider", service_type="placement", path="/resource_providers?name=none"
        ),
    ),
    endpoint_types=("placement",),
)
