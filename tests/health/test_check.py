"""The whole check over a cloud in memory: hosts' recorded answers, APIs that answer or do not."""

import asyncio
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.access.session import CloudSession
from backstay.errors import ApiRefused, HostKeyRefused, HostUnreachable, InventoryError
from backstay.finding import Finding, Severity, worst
from backstay.health.check import check_hosts
from backstay.inventory.cloud import Cloud
from backstay.inventory.limits import Bounds
from backstay.transports import limits
from backstay.transports.targets import Answer, SshTarget
from tests.services.memory_api import MemoryApi, failed

DATA = Path(__file__).parent / "data"
ROLE_OF = {"controller": "controller", "proxy": "storage-proxy", "storage1": "storage"}
CLOUD = Cloud.model_validate(
    {
        "credentials": {"environment": True},
        "hosts": {
            "controller": {"address": "10.0.0.11", "roles": ["controller"]},
            "proxy": {"address": "10.0.0.12", "roles": ["storage-proxy"]},
            "storage1": {"address": "10.0.0.13", "roles": ["storage"]},
        },
    }
)
HEALTHY = {
    ("identity", "/v3/projects"): {"projects": [{"id": "p"}]},
    ("image", "/v2/images"): {"images": [{"id": "i", "status": "active", "size": 1}]},
    ("placement", "/resource_providers"): {"resource_providers": []},
    ("compute", "/servers/detail"): {"servers": [{"id": "s", "status": "ACTIVE"}]},
    ("compute", "/os-services"): lambda: {
        "services": [report("nova-conductor"), report("nova-scheduler")]
    },
    ("network", "/v2.0/networks"): {"networks": []},
    ("network", "/v2.0/agents"): {"agents": []},
    ("block-storage", "/volumes/detail"): {"volumes": []},
    ("block-storage", "/os-services"): lambda: {
        "services": [report("cinder-scheduler"), report("cinder-volume")]
    },
    ("object-store", ""): {
        "x-account-container-count": "1",
        "x-account-object-count": "2",
        "x-account-bytes-used": "3",
    },
}


def report(binary: str, **changes: Any) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000000", time.gmtime())
    steady = {
        "binary": binary,
        "host": "controller",
        "state": "up",
        "status": "enabled",
        "updated_at": at,
    }
    return steady | changes


class RecordedShell:
    """Hosts that answer what real ones did, or raise what is in ``broken``."""

    def __init__(self, **broken: Exception) -> None:
        self.broken = broken

    async def answer(
        self, target: SshTarget, script: str, *, bound: float, most: int = limits.ANSWER
    ) -> Answer:
        assert bound > 0
        if target.name in self.broken:
            raise self.broken[target.name]
        text = (DATA / f"{ROLE_OF[target.name]}.json").read_text(encoding="utf-8")
        started = float(text.split('"started": ')[1].split(",")[0])
        return Answer(stdout=text, sent_at=started - 0.1, received_at=started + 9)


def check(
    api: Any = None, *, shell: Any = None, cloud: Cloud = CLOUD, **options: Any
) -> list[Finding]:
    api = api or MemoryApi(HEALTHY)
    shell = shell or RecordedShell()
    session = CloudSession(cloud=cloud, shell=shell, api=api)
    return asyncio.run(check_hosts(session, **options))


def bad(findings: list[Finding]) -> list[tuple[str | None, str, str]]:
    return [(f.host, f.subject, f.severity.value) for f in findings if f.severity != "ok"]


def about(findings: list[Finding], subject: str) -> Finding:
    return next(f for f in findings if f.subject == subject)


def test_a_healthy_cloud_is_green_and_every_question_tells_its_duration():
    findings = check()
    assert bad(findings) == []
    assert worst([f.severity for f in findings]) is Severity.OK
    for subject in ("token", "project list", "image list", "server list", "volume list"):
        finding = about(findings, subject)
        assert (finding.host, finding.remedy) == ("controller", "")
        assert finding.seconds is not None
    assert about(findings, "account").evidence == "1 containers, 2 objects, 3 bytes"


def test_an_unreachable_host_is_one_finding_and_the_rest_goes_on():
    gone = HostUnreachable("connecting", came_back="cannot be reached", remedy="power")
    findings = check(shell=RecordedShell(storage1=gone))
    assert bad(findings) == [("storage1", "host", "failed")]
    finding = next(f for f in findings if f.host == "storage1")
    assert "cannot be reached" in finding.evidence
    assert "swift-object-replicator" in finding.evidence


def test_a_refused_host_key_is_unknown_not_down():
    refused = HostKeyRefused("checking", came_back="another key", remedy="compare")
    findings = check(shell=RecordedShell(proxy=refused))
    assert bad(findings) == [("proxy", "host", "unknown")]


def test_wrong_credentials_are_one_finding_and_one_for_what_was_not_asked():
    class Refusing(MemoryApi):
        def authenticate(self):
            raise ApiRefused("asking for a token", came_back="refused (401)", remedy="compare")

    findings = check(Refusing(HEALTHY))
    assert [f.subject for f in findings if f.severity != "ok"] == ["token", "other questions"]
    assert about(findings, "unit keystone").severity is Severity.OK
    assert "image list" in about(findings, "other questions").evidence


def test_credentials_that_cannot_be_read_do_not_stop_the_hosts():
    error = InventoryError("reading openrc", came_back="no such file", remedy="write it")
    findings = check(error)
    assert bad(findings) == [(None, "credentials", "unknown")]


def test_an_api_that_hangs_is_one_finding_within_the_bound():
    never = threading.Event()
    api = MemoryApi(HEALTHY | {("compute", "/servers/detail"): never.wait})
    cloud = CLOUD.model_copy(update={"bounds": Bounds(api_seconds=1.0)})
    started_at = time.monotonic()
    findings = check(api, cloud=cloud)
    assert time.monotonic() - started_at < 5
    assert bad(findings) == [("controller", "server list", "failed")]
    finding = about(findings, "server list")
    assert "no answer within 1 s" in finding.evidence
    assert "journalctl -u nova-api" in finding.remedy


ODD = "97d47621-862e-410d-9ebb-da782c54938a"


def test_one_odd_image_is_named_and_glance_is_not_down():
    odd = {"id": ODD, "status": "active", "size": 1, "hw_vif_multiqueue": True}
    images = {"images": [{"id": "i", "status": "active", "size": 1}, odd, "what"]}
    findings = check(MemoryApi(HEALTHY | {("image", "/v2/images"): images}))
    assert about(findings, "image list").severity is Severity.OK
    assert bad(findings) == [
        ("controller", f"image {ODD}", "warning"),
        ("controller", "image without id", "warning"),
    ]
    assert about(findings, f"image {ODD}").remedy.endswith(f"openstack image show {ODD}")


def test_a_list_that_breaks_over_one_record_is_told_from_a_broken_service():
    class Breaking(MemoryApi):
        def get(self, service_type, path, headers=None):
            if path.startswith("/v2/images") and not path.endswith("limit=1"):
                raise failed(500)
            return super().get(service_type, path)

    findings = check(Breaking(HEALTHY))
    assert bad(findings) == [("controller", "image list", "failed")]
    assert "one of its images is broken" in about(findings, "image list").evidence


def test_an_answer_of_another_form_is_a_finding():
    findings = check(MemoryApi(HEALTHY | {("compute", "/os-services"): {"nothing": 1}}))
    assert bad(findings) == [("controller", "agent list", "failed")]


@pytest.mark.parametrize(
    ("changes", "severity", "evidence"),
    [
        ({}, "ok", "last report"),
        ({"state": "down", "updated_at": "2020-01-01T00:00:00.000000"}, "failed", "down: last"),
        ({"updated_at": "2020-01-01T00:00:00.000000"}, "warning", "its API still calls it up"),
        ({"updated_at": None, "state": "down"}, "failed", "never reported"),
        ({"status": "disabled", "disabled_reason": "disk swap"}, "warning", "disabled: disk swap"),
    ],
)
def test_agents_are_judged_by_the_age_of_their_report(changes, severity, evidence):
    agents = {"services": [report("nova-scheduler", **changes), report("nova-conductor")]}
    findings = check(MemoryApi(HEALTHY | {("compute", "/os-services"): agents}))
    finding = about(findings, "agent nova-scheduler")
    assert (finding.host, finding.severity.value) == ("controller", severity)
    assert evidence in finding.evidence


class OtherNames(RecordedShell):
    """A controller of Ubuntu: apache2 serves keystone and placement, neutron-server is one unit."""

    async def answer(self, target: SshTarget, script: str, **options: Any) -> Answer:
        answer = await super().answer(target, script, **options)
        whole = json.loads(answer.stdout)
        blocks = whole["answers"]["units"]["value"]["show"].split("\n\n")
        whole["answers"]["units"]["value"]["show"] = "\n\n".join(map(self._renamed, blocks))
        running = ["apache2.service", "neutron-server.service", "cron.service"]
        value = {"show": "", "states": {}, "running": running}
        whole["answers"]["other units"] = {"value": value, "seconds": 0.1}
        whole["answers"]["mounts"] = {"value": [["/srv/vol1", "turned", "ext4"]], "seconds": 0.1}
        return replace(answer, stdout=json.dumps(whole))

    def _renamed(self, block: str) -> str:
        if not any(f"Id={one}.service" in block for one in self.names):
            return block
        gone = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"}
        pairs = (line.partition("=")[::2] for line in block.splitlines())
        return "\n".join(f"{key}={gone.get(key, value)}" for key, value in pairs)

    names = ("keystone", "placement-api", "neutron-api", "neutron-rpc-server")


def test_units_by_other_names_are_asked_for_and_disks_are_named():
    findings = check(shell=OtherNames(), hosts=["controller"])
    strangers = [one for one in findings if "which units are these?" in one.evidence]
    assert [one.subject for one in strangers] == [f"unit {one}" for one in OtherNames.names]
    assert {one.severity for one in strangers} == {Severity.WARNING}
    assert "running here: neutron-server" in about(findings, "unit neutron-rpc-server").evidence
    assert "apache2" in about(findings, "unit keystone").evidence
    assert not any("not installed" in one.evidence for one in findings)
    assert about(findings, "mount /srv/vol1").severity is Severity.FAILED


def test_an_agent_that_never_reported_is_missed():
    agents = {"services": [report("nova-scheduler")]}
    findings = check(MemoryApi(HEALTHY | {("compute", "/os-services"): agents}))
    assert bad(findings) == [("controller", "agent nova-conductor", "failed")]


def test_named_hosts_only_with_the_apis_that_they_serve():
    findings = check(hosts=["proxy"])
    assert {f.host for f in findings} == {"proxy"}
    findings = check(hosts=["controller"])
    assert {f.host for f in findings} == {"controller"}
    assert about(findings, "server list").severity is Severity.OK


def test_services_that_the_cloud_does_not_have_are_not_missed():
    hosts = {"controller": {"address": "10.0.0.11", "roles": ["controller"]}}
    cloud = Cloud.model_validate({"credentials": {"environment": True}, "hosts": hosts})
    answers = {key: value for key, value in HEALTHY.items() if key[0] != "object-store"}
    findings = check(MemoryApi(answers), cloud=cloud)
    assert bad(findings) == []
    assert not any(f.service == "swift" for f in findings)
