"""Metrics: their names, and that dashboard and alert rules use no other."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from backstay.watch.incidents.notification import Delivery
from backstay.watch.web.metrics import exposition
from backstay.watch.web.records import Records
from backstay.watch.web.recovery_status import HostRecoveryStatus, Recovery, RecoveryStatus
from tests.installed import need
from tests.watch.web.fake_cloud import DOWN, MARIADB, FakeCloud, snapshot

PACKAGING = Path(__file__).parents[2] / "packaging"
NAMES = {
    "backstay_backup_age_seconds",
    "backstay_check_age_seconds",
    "backstay_host_silenced",
    "backstay_incidents_open",
    "backstay_rpo_seconds",
    "backstay_rto_seconds",
    "backstay_runs_active",
    "backstay_target_latency_seconds",
    "backstay_target_state",
    "backstay_target_up",
    "backstay_notifications",
    "backstay_watch_age_seconds",
    "backstay_watch_journal_readable",
    "backstay_watch_leading",
    "backstay_watch_problems",
}


@pytest.fixture
def samples(tmp_path: Path) -> dict[str, dict[tuple[str, ...], float]]:
    now = time.time()
    incident = FakeCloud(tmp_path).store.open(MARIADB, began=now, at=now, channels=[])
    records = Records(
        open=(incident,),
        notifications={("mail", Delivery.SENT): 3},
        recovery=RecoveryStatus(
            hosts=(HostRecoveryStatus(host="controller", verified_at=now - 60, stream_lag=0.5),),
            recoveries=(
                Recovery(operation="controller replaced", seconds=412.0, run="replace-8", at=now),
            ),
        ),
    )
    text = exposition(snapshot(now, down=DOWN, silence="proxy"), records, now).decode()
    return {
        family.name: {
            tuple(one.labels[name] for name in sorted(one.labels)): one.value
            for one in family.samples
        }
        for family in text_string_to_metric_families(text)
    }


def test_the_names_are_stable(samples: dict[str, Any]) -> None:
    assert set(samples) == NAMES


def test_down_targets_are_down(samples: dict[str, Any]) -> None:
    up = samples["backstay_target_up"]
    assert up["controller", "query", "mariadb"] == 0
    assert up["proxy", "object", "swift"] == 1
    state = samples["backstay_target_state"]
    assert state["controller", "query", "mariadb", "down"] == 1
    assert ("controller", "query", "mariadb", "up") not in state
    latency = samples["backstay_target_latency_seconds"]
    assert ("controller", "query", "mariadb") not in latency
    assert 0 < latency["proxy", "object", "swift"] < 0.2


def test_incidents_are_counted_with_the_zeros(samples: dict[str, Any]) -> None:
    incidents = samples["backstay_incidents_open"]
    assert incidents["service-hung", "critical"] == 1
    assert incidents["host-dead", "critical"] == 0
    assert sum(incidents.values()) == 1


def test_backups_and_notifications_are_exported(samples: dict[str, Any]) -> None:
    assert samples["backstay_backup_age_seconds"]["controller",] == pytest.approx(60, abs=1)
    assert samples["backstay_rpo_seconds"]["controller",] == 0.5
    assert samples["backstay_rto_seconds"]["controller replaced",] == 412
    assert samples["backstay_notifications"]["mail", "sent"] == 3
    assert samples["backstay_host_silenced"]["proxy", "reboot-7"] == 1


def test_the_dashboard_uses_existing_metrics() -> None:
    dashboard = json.loads((PACKAGING / "grafana" / "backstay.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = {name for query in queries for name in re.findall(r"backstay_\w+", query)}
    assert len(queries) > 10
    assert used <= NAMES
    assert {"backstay_target_up", "backstay_incidents_open", "backstay_rpo_seconds"} <= used


def test_the_alert_rules_use_existing_metrics() -> None:
    rules = YAML(typ="safe").load(PACKAGING / "prometheus" / "backstay.rules.yml")
    found = [rule for group in rules["groups"] for rule in group["rules"]]
    for rule in found:
        assert set(re.findall(r"backstay_\w+", rule["expr"])) <= NAMES, rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["remedy"]
    assert len(found) >= 6


def test_prometheus_reads_the_rules() -> None:
    missing = [] if shutil.which("promtool") else ["promtool"]
    need(missing, "apt-get install --no-install-recommends prometheus")
    rules = PACKAGING / "prometheus" / "backstay.rules.yml"
    samples = subprocess.run(
        ["promtool", "check", "rules", rules], capture_output=True, text=True, check=False
    )
    assert samples.returncode == 0, samples.stdout + samples.stderr
