"""cloud.yaml: what is read, and every mistake with its line."""

from pathlib import Path

import pytest

from backstay.errors import InventoryError
from backstay.finding import Severity
from backstay.inventory.enums import Role
from backstay.inventory.load import find, load
from backstay.inventory.mistakes import CloudFileWrong
from backstay.inventory.watch import Policy

DATA = Path(__file__).parent / "data"


def written(folder: Path, hosts: str = "", *, rest: str = "") -> Path:
    path = folder / "cloud.yaml"
    hosts = hosts or "  c: {address: 10.0.0.1, roles: [controller]}"
    path.write_text(f"credentials: {{environment: true}}\nhosts:\n{hosts}\n{rest}\n")
    return path


def test_the_lab_s_cloud_file():
    cloud = load(DATA / "cloud.yaml")
    controller = cloud.hosts["controller"]
    target = cloud.ssh_target(controller)
    assert (target.name, target.address, target.user) == ("controller", "10.77.0.11", "root")
    assert target.key == DATA / "ssh/id_ed25519"
    assert controller.bmc
    assert controller.bmc.password.file == DATA / "bmc/controller.password"
    assert [host.name for host in cloud.with_role(Role.COMPUTE)] == ["compute1", "compute2"]
    assert cloud.hosts["spare1"].spare_for == ("controller", "proxy")
    assert cloud.path == DATA / "cloud.yaml"


def test_all_mistakes_are_told_at_once_each_with_its_line():
    with pytest.raises(CloudFileWrong) as caught:
        load(DATA / "mistakes.yaml", services=["nova", "glance"])
    told = caught.value.came_back.replace(f"{DATA}/", "")
    assert told.splitlines() == (DATA / "mistakes.expected").read_text().splitlines()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "`credentials` is missing"),
        ("hosts: [\n", "not YAML"),
        ("- a\n- b\n", "expected a mapping"),
        ("hosts:\n\tc: 1\n", "cloud.yaml:2: not YAML"),
    ],
)
def test_what_is_no_cloud_file_at_all(tmp_path, text, said):
    path = tmp_path / "cloud.yaml"
    path.write_text(text)
    with pytest.raises(InventoryError) as caught:
        load(path)
    assert said in caught.value.came_back


def test_a_secret_written_in_the_wrong_place_is_not_shown(tmp_path):
    bmc = "{url: 'https://h', username: a, password: {value: s3cret, env: s3cret}, ca: [s3cret]}"
    with pytest.raises(CloudFileWrong) as caught:
        load(written(tmp_path, f"  c: {{address: 10.0.0.1, roles: [controller], bmc: {bmc}}}"))
    assert "s3cret" not in str(caught.value)
    assert len(caught.value.mistakes) == 2


def test_a_secret_comes_from_a_file_the_environment_or_the_text(tmp_path, monkeypatch):
    (tmp_path / "pw").write_text("from file\n")
    monkeypatch.setenv("BMC_PW", "from env")
    for source, secret in (("{file: pw}", "from file"), ("{env: BMC_PW}", "from env"), ("x", "x")):
        bmc = f"{{url: 'https://h', username: a, password: {source}}}"
        path = written(tmp_path, f"  c: {{address: 10.0.0.1, roles: [controller], bmc: {bmc}}}")
        cloud = load(path)
        found = cloud.hosts["c"].bmc
        assert found
        assert found.password.reveal() == secret
    (tmp_path / "pw").unlink()
    monkeypatch.delenv("BMC_PW")
    cloud = load(written(tmp_path, path.read_text().split("\n")[2].replace(" x}", " {file: pw}}")))
    with pytest.raises(InventoryError, match="No such file"):
        cloud.hosts["c"].bmc.password.reveal()  # type: ignore[union-attr]


def test_one_address_behind_two_ports_is_two_hosts(tmp_path):
    first = "  c: {address: h, roles: [controller], ssh: {port: 1}}\n"
    assert load(written(tmp_path, first + first.replace("c:", "d:").replace("1", "2")))
    with pytest.raises(CloudFileWrong, match="also the address of `c`"):
        load(written(tmp_path, first + first.replace("c:", "d:")))


def test_one_value_of_a_limit_can_be_set_alone(tmp_path):
    limits = load(written(tmp_path, rest="limits: {disk_percent: {warning: 60}}")).limits
    severities = [limits.disk_percent.severity(value) for value in (59.9, 60, 94, 95)]
    ok, warning, failed = Severity.OK, Severity.WARNING, Severity.FAILED
    assert severities == [ok, warning, warning, failed]
    falling = limits.memory_available_percent
    assert [falling.severity(value) for value in (11, 10, 3)] == [ok, warning, failed]


def test_where_cloud_yaml_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BACKSTAY_CLOUD", raising=False)
    lab = tmp_path / "lab.yaml"
    with pytest.raises(InventoryError, match="no lab is up"):
        find(None, lambda: None)
    assert find(None, lambda: lab).of_lab
    (tmp_path / "cloud.yaml").touch()
    assert find(None, lambda: lab).path == Path("cloud.yaml")
    monkeypatch.setenv("BACKSTAY_CLOUD", "/named.yaml")
    assert find(None, lambda: lab).path == Path("/named.yaml")
    assert find(Path("/given.yaml"), lambda: lab).path == Path("/given.yaml")


def test_the_old_word_of_policies_is_accepted() -> None:
    policy = Policy.model_validate(
        {"service-failed": "tell", "agent-deaf": "reattach", "controller-dead": "ask"}
    )
    assert (policy.service_failed, policy.agent_not_processing) == ("notify", "reattach")
    assert policy.controller_dead == "ask"


def with_bmcs(folder: Path, *urls: str) -> Path:
    hosts = "".join(
        f"  h{number}: {{address: 192.0.2.{number}, roles: [compute], "
        f"bmc: {{url: '{url}', username: a, password: b}}}}\n"
        for number, url in enumerate(urls, 1)
    )
    file = folder / "cloud.yaml"
    file.write_text(f"credentials: {{environment: true}}\nhosts:\n{hosts}")
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(
    "other",
    [
        "https://bmc1.example",
        "https://BMC1.example/",
        "https://bmc1.example:443",
        "https://bmc1.example./redfish/v1/",
        "https://bmc1.example//redfish",
        "ipmi://bmc1.example",
        "ipmi://bmc1.example:6230",
        # Redfish is asked for at its own path of the server, whatever the path here.
        "https://bmc1.example/bmc2/",
        "https://bmc1.example/REDFISH//v1",
        "https://bmc1.example/redfish/v1/Systems/2",
    ],
)
def test_two_hosts_have_no_bmc_in_common(tmp_path: Path, other: str) -> None:
    with pytest.raises(CloudFileWrong, match=r"hosts\.h2\.bmc: its BMC is also that of `h1`"):
        load(with_bmcs(tmp_path, "https://bmc1.example", other))


def test_one_address_in_two_spellings_is_one_bmc(tmp_path: Path) -> None:
    for one, other in (
        ("[2001:db8::1]", "[2001:DB8:0::1]"),
        ("192.0.2.1", "[::ffff:192.0.2.1]"),
        ("192.0.2.1", "192.513"),
        ("192.0.2.1", "3221225985"),
        ("192.0.2.1", "0xc0000201"),
    ):
        with pytest.raises(CloudFileWrong, match="also that of `h1`"):
            load(with_bmcs(tmp_path, f"https://{one}", f"https://{other}/"))


@pytest.mark.parametrize(("one", "other"), [("::1", "0:0::1"), ("h.example", "H.example.")])
def test_one_address_in_two_spellings_is_one_host(tmp_path: Path, one: str, other: str) -> None:
    hosts = f"  h1: {{address: '{one}', roles: [compute]}}\n"
    hosts += f"  h2: {{address: '{other}', roles: [compute], ssh: {{port: 22}}}}\n"
    file = tmp_path / "cloud.yaml"
    file.write_text(f"credentials: {{environment: true}}\nhosts:\n{hosts}")
    file.chmod(0o600)
    with pytest.raises(CloudFileWrong, match="is also the address of `h1`"):
        load(file)


@pytest.mark.parametrize("other", ["https://bmc2.example", "https://bmc1.example:8443"])
def test_other_bmcs_are_no_mistake(tmp_path: Path, other: str) -> None:
    assert load(with_bmcs(tmp_path, "https://bmc1.example", other)).hosts["h2"].bmc
