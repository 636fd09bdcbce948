"""What is shipped to hosts to see what is real: read from what real programs printed."""

import ast
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backstay.access.shipping import program, source_of
from backstay.answers import convert
from backstay.errors import ApiFailed
from backstay.finding import Severity
from backstay.runbooks.reconcile import onhost
from backstay.services import oslo
from backstay.services.cinder import reconcile as cinder
from backstay.services.declaration import Verdict
from backstay.services.libvirt import reconcile as libvirt
from backstay.services.mariadb import queries as queries_of_mariadb
from backstay.services.neutron import reconcile as neutron
from backstay.services.nova import reconcile as nova
from backstay.services.nova.reaper import ReaperAnswer, judge_reaper
from backstay.services.placement import reconcile as placement
from backstay.services.registry import all_reconcilers
from backstay.services.swift import reconcile as swift

DATA = Path(__file__).parents[1] / "runbooks" / "data" / "reconcile"
QUESTIONS = [one for kept in all_reconcilers() for one in kept.questions] + [
    guard.question for kept in all_reconcilers() for guard in kept.guards
]


@pytest.mark.parametrize("question", QUESTIONS, ids=[one.name for one in QUESTIONS])
def test_a_question_can_be_shipped_and_brings_all_that_it_needs(question: Any) -> None:
    """It may fail here for want of the service, and for nothing else."""
    queries = {"one": "SELECT 1"}
    reader = [source_of(queries_of_mariadb.answer_queries), "answer_queries"]
    shipped = [[question.name, 5.0, source_of(question.ask), question.ask.__name__]]
    text = program(onhost.answer, shipped, reader, queries, 5.0)
    for source in (text, shipped[0][2]):
        ast.parse(source, feature_version=(3, 6))
        assert not re.search(r"removeprefix|removesuffix|:=|capture_output=", source)
    done = subprocess.run(
        [sys.executable, "-I", "-"], input=text, capture_output=True, text=True, check=False
    )
    if "not root" in done.stderr:
        pytest.skip("asked as root only")
    answers = json.loads(done.stdout)["answers"]
    assert set(answers) == {question.name, "records"}
    for answer in answers.values():
        assert not re.match("NameError|ImportError|TypeError|SyntaxError", answer.get("error", ""))


def test_names_of_questions_and_queries_are_one_each() -> None:
    queries = [name for kept in all_reconcilers() for name in kept.records]
    assert len(set(queries)) == len(queries)
    assert len({one.name for one in QUESTIONS}) == len(QUESTIONS)
    for kept in all_reconcilers():
        for query in kept.records.values():
            assert "\n" not in query.text, "the client tells errors by the line"


def test_a_domain_as_libvirt_describes_it() -> None:
    text = (DATA / "domain.xml").read_text()
    [one] = libvirt.domains(text)
    told = libvirt.described(one)
    assert told == {
        "id": "3862789d-3785-4582-8287-392c9d8a04b4",
        "domain": "instance-00000002",
        "name": "demo-1",
        "nova": True,
        "volumes": ["1b234dd3-8d3a-424a-93b2-0565666e5e43"],
        "macs": ["fa:16:3e:b9:8a:4e"],
    }
    assert len(libvirt.domains(f"{text}\n{text}")) == 2
    strange = one.replace("openstack.org/xmlns", "example.org").replace("<name>instance-", "<name>")
    assert not libvirt.described(strange)["nova"], "another's guest is none of nova's"


def test_states_as_libvirt_tells_them() -> None:
    text = "Domain: 'instance-00000002'\n  state.state=1\n  state.reason=1\n\n"
    text += "Domain: 'instance-00000007'\n  state.state=5\n  state.reason=2\n\n"
    assert libvirt.power_states(text) == {"instance-00000002": 1, "instance-00000007": 5}


PRINTED = "==\none\na\tb\n1\tx\\ty\\nz\\\\\n==\nthree\n"
SAID = (
    "--------------\nSELECT a FROM nova.nothing\n--------------\n\n"
    "ERROR 1146 (42S02) at line 8: Table 'nova.nothing' doesn't exist\n"
)


def test_rows_as_the_client_prints_them() -> None:
    assert queries_of_mariadb.parsed(PRINTED) == {
        "one": {"columns": ["a", "b"], "rows": [["1", "x\ty\nz\\"]]},
        "three": {"columns": [], "rows": []},
    }


def test_a_query_that_failed_is_not_an_empty_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def run(command: Any, **options: Any) -> Any:
        given.append(options["input"].decode())
        printed = "==\none\na\n1\n==\nthree\n==\ntwo\n"
        return subprocess.CompletedProcess(command, 1, printed.encode(), SAID.encode())

    monkeypatch.setattr("backstay.services.mariadb.queries.subprocess.run", run)
    queries = {"one": "SELECT 1 AS a", "two": "SELECT a FROM nova.nothing", "three": "SELECT 3"}
    told = queries_of_mariadb.answer_queries(queries, 5)
    assert given[0].splitlines()[7] == "SELECT a FROM nova.nothing;"
    assert told["one"] == {"value": {"columns": ["a"], "rows": [["1"]]}}
    assert told["three"] == {"value": {"columns": [], "rows": []}}
    assert told["two"] == {"error": "Table 'nova.nothing' doesn't exist"}


def test_a_server_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: Any, **_options: Any) -> Any:
        said = b"ERROR 2002 (HY000): Can't connect to local server through socket"
        return subprocess.CompletedProcess(command, 1, b"", said)

    monkeypatch.setattr("backstay.services.mariadb.queries.subprocess.run", run)
    with pytest.raises(OSError, match="Can't connect"):
        queries_of_mariadb.answer_queries({"one": "SELECT 1"}, 5)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "nova.conf").write_text(
        "[DEFAULT]\nrunning_deleted_instance_action = log\n[libvirt]\nvirt_type=qemu\n"
    )
    (tmp_path / "nova-compute.conf").write_text("[DEFAULT]\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "50-site.conf").write_text(
        "[DEFAULT]\nrunning_deleted_instance_action=reap\n"
    )
    return tmp_path


def asked(monkeypatch: pytest.MonkeyPatch, files: Path, process: Any) -> dict[str, Any]:
    monkeypatch.setattr(oslo, "running", lambda _program: process)
    usual = [str(files / "nova.conf"), str(files / "nova-compute.conf")]
    option = "running_deleted_instance_action"
    told: dict[str, Any] = oslo.setting("nova", "nova-compute", usual, "DEFAULT", option)
    return told


def judged(answer: dict[str, Any]) -> Verdict:
    return judge_reaper(convert(ReaperAnswer, answer))


def test_a_file_of_the_command_line_wins_over_a_folder(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """oslo.config reads the folders before the files that the command line names."""
    folder = f"--config-dir={files / 'conf.d'}"
    named = ["nova-compute", folder, "--config-file", str(files / "nova.conf")]
    told = asked(monkeypatch, files, (4e9, named, {}))
    assert (told["value"], told["where"]) == ("log", str(files / "nova.conf"))
    told = asked(monkeypatch, files, (4e9, ["nova-compute", folder], {}))
    assert (told["value"], told["where"]) == ("reap", str(files / "conf.d" / "50-site.conf"))


def test_a_variable_wins_over_files_and_nothing_is_the_default(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"OS_DEFAULT__RUNNING_DELETED_INSTANCE_ACTION": "shutdown"}
    told = asked(monkeypatch, files, (4e9, ["nova-compute"], variables))
    assert judged(told).severity is Severity.FAILED
    assert "environment variable" in judged(told).evidence
    (files / "nova.conf").write_text("[DEFAULT]\n# running_deleted_instance_action = log\n")
    told = asked(monkeypatch, files, (4e9, ["nova-compute"], {}))
    assert told["value"] is None
    verdict = judged(told)
    assert "reap by default" in verdict.evidence
    assert f"{files}/nova-compute.conf" in verdict.remedy


def test_a_file_changed_after_the_process_read_it_is_no_proof(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = asked(monkeypatch, files, (1.0, ["nova-compute"], {}))
    assert told["stale"]
    assert judged(told).severity is Severity.WARNING
    assert not asked(monkeypatch, files, None)["stale"]


def test_the_remedy_for_the_reaper_is_a_command_that_does_it(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("[DEFAULT]\nrunning_deleted_instance_action = reap\n", "[DEFAULT]\na = b\n"):
        for name in ("nova.conf", "nova-compute.conf"):
            (files / name).write_text(text)
        remedy = judged(asked(monkeypatch, files, None)).remedy
        match = re.match(r'\{ssh\} "(.*)" && ', remedy)
        assert match
        subprocess.run(["sh", "-c", f'sh -c "{match[1]}"'], check=True)
        assert asked(monkeypatch, files, None)["value"] == "log"


def test_databases_of_accounts_and_containers(tmp_path: Path) -> None:
    account, container = tmp_path / "a.db", tmp_path / "c.db"
    with sqlite3.connect(account) as database:
        database.executescript(
            "CREATE TABLE account_stat (account TEXT); INSERT INTO account_stat VALUES ('AUTH_1');"
            "CREATE TABLE container (name TEXT, object_count INTEGER, deleted INTEGER);"
            "INSERT INTO container VALUES ('kept', 3, 0), ('was', 0, 1);"
        )
    with sqlite3.connect(container) as database:
        database.executescript(
            "CREATE TABLE container_stat (account TEXT, container TEXT, "
            "reported_object_count INTEGER, reported_put_timestamp TEXT, put_timestamp TEXT, "
            "delete_timestamp TEXT);"
            "INSERT INTO container_stat VALUES ('AUTH_1', 'kept', 3, '0', '1700000000', '0');"
        )
    assert swift.read(str(account), "account") == [["AUTH_1", "kept", 3]]
    assert swift.read(str(container), "container") == [["AUTH_1", "kept", 3, 0]]


class Api:
    """Answers ``get`` from a table and keeps what is sent."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.sent: list[tuple[str, str, Any]] = []

    def get(self, _type: str, path: str, _headers: Any = None) -> Any:
        return self.answers[path]

    def post(self, _type: str, path: str, body: Any) -> Any:
        self.sent.append(("POST", path, body))

    def delete(self, _type: str, path: str, headers: Any = None) -> None:
        self.sent.append(("DELETE", path, headers))
        if "refused" in path:
            raise ApiFailed("DELETE", came_back="409", remedy="see nova", status=409)


def test_changes_look_first() -> None:
    """Between look and change an owner may have done something."""
    server = {"OS-EXT-STS:vm_state": "active", "OS-EXT-STS:task_state": None}
    api: Any = Api(
        {
            "/servers/1": {"server": server},
            "/servers/2": {"server": server | {"OS-EXT-STS:vm_state": "stopped"}},
            "/servers/3": {
                "server": {"OS-EXT-STS:vm_state": "stopped", "OS-EXT-STS:task_state": "deleting"}
            },
            "/volumes/1": {"volume": {"status": "available"}},
            "/volumes/2": {"volume": {"status": "creating"}},
            "/v2.0/networks/1/dhcp-agents": {"agents": [{"id": "a"}]},
            "/v2.0/networks/2/dhcp-agents": {"agents": []},
        }
    )
    change = nova.RECONCILER.repairs["server-active"].api
    assert change
    assert [change(api, {"id": one}) for one in "13"] == ["", ""]
    volume = cinder.RECONCILER.repairs["volume-error"].api
    assert volume
    assert volume(api, {"id": "1"}) == ""
    dhcp = neutron.RECONCILER.repairs["dhcp-agent"].api
    assert dhcp
    assert dhcp(api, {"network": "1", "agent": "a"}) == ""
    assert api.sent == []
    change(api, {"id": "2"})
    volume(api, {"id": "2"})
    dhcp(api, {"network": "2", "agent": "a"})
    assert api.sent == [
        ("POST", "/servers/2/action", {"os-resetState": {"state": "active"}}),
        ("POST", "/volumes/2/action", {"os-reset_status": {"status": "error"}}),
        ("POST", "/v2.0/agents/a/dhcp-networks", {"network_id": "2"}),
    ]


def test_an_attachment_is_ended_by_a_version_that_asks_nova() -> None:
    api: Any = Api({})
    change = cinder.RECONCILER.repairs["attachment-delete"].api
    assert change
    change(api, {"id": "1", "volume": "2", "instance": "3"})
    assert api.sent == [("DELETE", "/attachments/1", {"OpenStack-API-Version": "volume 3.27"})]
    with pytest.raises(ApiFailed):
        change(api, {"id": "refused", "volume": "2", "instance": "3"})


def test_one_instance_s_allocation_is_healed_and_no_other_s() -> None:
    repair = placement.RECONCILER.repairs["heal-allocation"]
    assert repair.program
    words = list(repair.program({"instance": "abc"}))
    assert words[-2:] == ["--instance", "abc"]
    assert "--force" not in words
    assert repair.succeeded == {0, 4}
