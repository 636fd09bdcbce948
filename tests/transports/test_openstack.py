"""APIs that misbehave in one way each, as real HTTP servers on loopback."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from backstay.errors import (
    ApiFailed,
    ApiNotAsked,
    ApiRefused,
    ApiUnreachable,
    BackstayError,
    InventoryError,
)
from backstay.finding import Severity
from backstay.health.judge_api import judge_answers
from backstay.health.read_apis import Answered, ApiObservation
from backstay.inventory.limits import Limits
from backstay.services.registry import all_services
from backstay.transports.openstack import OpenStackApi
from backstay.transports.targets import joined
from tests.transports import misbehaving_api as behaviour
from tests.transports.misbehaving_api import PASSWORD, Server, api, certificate, says


def variables(server: Server, **others: str) -> dict[str, str]:
    return {
        "OS_AUTH_URL": f"{server.url}/v3",
        "OS_USERNAME": "admin",
        "OS_PASSWORD": PASSWORD,
        "OS_PROJECT_NAME": "ops",
        "OS_REGION_NAME": "RegionOne",
    } | others


@pytest.fixture
def server():
    with api() as running:
        yield running


def client(server: Server, *, bound: float = 5.0, **others: str) -> OpenStackApi:
    return OpenStackApi(variables(server, **others), bound=bound)


def images_refusal(of: type[BackstayError], asked: OpenStackApi) -> BackstayError:
    with pytest.raises(of) as caught:
        asked.get("image", "/v2/images")
    assert caught.value.remedy
    assert PASSWORD not in f"{caught.value} {caught.value.remedy}"
    return caught.value


def test_one_token_serves_many_threads(server):
    asked = client(server)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: asked.get("image", "/v2/images"), range(48)))
    assert answers == [{"images": []}] * 48
    assert server.count("POST", "/v3/auth/tokens") == 1


def test_authenticate_gives_a_fresh_token_s_data_and_never_the_token(server):
    asked = client(server)
    told = asked.authenticate()
    assert (told["user"], told["project"], told["roles"]) == ("admin", "ops", ["admin"])
    assert "token-" not in repr(told)
    asked.authenticate()
    assert server.count("POST", "/v3/auth/tokens") == 2


def test_wrong_password_is_asked_once_however_many_calls_wait(server):
    asked = client(server, OS_PASSWORD="wrong-password")
    with pytest.raises(ApiRefused) as caught:
        asked.authenticate()
    assert "admin of project ops" in caught.value.attempted
    assert "wrong-password" not in str(caught.value)
    for _ in range(3):
        images_refusal(ApiRefused, asked)
    assert server.count("POST", "/v3/auth/tokens") == 1


def test_a_keystone_that_hangs_holds_nobody_longer_than_the_bound(server):
    server.answers["/v3/auth/tokens"] = behaviour.hangs
    asked = client(server, bound=0.3)
    started = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        for error in threads.map(lambda _: images_refusal(ApiUnreachable, asked), range(8)):
            assert "within 0.3 s" in error.came_back
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("how", ["hangs", "trickles", "trickles_headers"])
def test_a_service_that_never_finishes_ends_at_the_bound(server, how):
    server.answers["/v2/images"] = getattr(behaviour, how)
    asked = client(server, bound=0.4)
    asked.authenticate()
    started = time.monotonic()
    error = images_refusal(ApiUnreachable, asked)
    assert time.monotonic() - started < 2
    assert f"{server.url}/v2/images gave no complete answer within 0.4 s" in error.came_back
    server.answers["/v2/images"] = says(200, {"images": [1]})
    assert asked.get("image", "/v2/images") == {"images": [1]}


def test_a_keystone_that_trickles_ends_at_the_bound(server):
    server.answers["/v3/auth/tokens"] = behaviour.trickles
    started = time.monotonic()
    images_refusal(ApiUnreachable, client(server, bound=0.4))
    assert time.monotonic() - started < 2


def test_an_answer_that_breaks_off(server):
    server.answers["/v2/images"] = behaviour.hangs_up
    error = images_refusal(ApiUnreachable, client(server))
    assert "was lost" in error.came_back


def test_a_connection_that_the_server_has_just_closed_is_made_again(server):
    answers = iter([behaviour.closes, says(200, {"images": []})])

    def once_closed(request: Any) -> None:
        next(answers)(request)

    server.answers["/v2/images"] = once_closed
    assert client(server).get("image", "/v2/images") == {"images": []}
    assert server.count("GET", "/v2/images") == 2


def test_a_server_that_always_closes_is_asked_twice(server):
    server.answers["/v2/images"] = behaviour.closes
    error = images_refusal(ApiUnreachable, client(server))
    assert "was lost" in error.came_back
    assert server.count("GET", "/v2/images") == 2


def test_what_would_be_made_twice_is_sent_once(server):
    server.answers["/v2/images"] = behaviour.closes
    with pytest.raises(ApiUnreachable, match="was lost"):
        client(server).post("image", "/v2/images", {"name": "x"})
    assert server.count("POST", "/v2/images") == 1


def test_nothing_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        asked = OpenStackApi(
            {"OS_AUTH_URL": url, "OS_USERNAME": "a", "OS_PASSWORD": "b", "OS_PROJECT_NAME": "c"}
        )
        error = images_refusal(ApiUnreachable, asked)
    assert error.came_back == f"{url} refuses connections"


@pytest.mark.parametrize(
    ("body", "extract"),
    [
        ('{"error": {"code": 500, "message": "DB is\\n gone"}}', "DB is gone"),
        ('{"computeFault": {"code": 500, "message": "Unexpected API Error."}}', "Unexpected API"),
        ('{"NeutronError": {"type": "X", "message": "No net", "detail": ""}}', "No net"),
        ("<html><head><title>502 Bad Gateway</title></head><body>x</body></html>", "502 Bad"),
        ("upstream \x1b[31mfailed\n" + "x" * 1000, "upstream [31mfailed"),
        ("", "answered 500"),
    ],
)
def test_a_server_error_gives_its_status_and_one_line(server, body, extract):
    server.answers["/v2/images"] = says(500, text=body)
    error = images_refusal(ApiFailed, client(server))
    assert isinstance(error, ApiFailed)
    assert error.status == 500
    assert extract in error.came_back
    assert "\n" not in error.came_back
    assert "\x1b" not in error.came_back
    assert len(error.came_back) < 300


def test_keystone_s_own_failure(server):
    server.answers["/v3/auth/tokens"] = says(503, {"error": {"message": "down"}})
    error = images_refusal(ApiFailed, client(server))
    assert "answered 503: down" in error.came_back


def test_a_revoked_token_is_renewed_once(server):
    refuse = [True]

    def once(request):
        answer = says(401, {}) if refuse.pop() else says(200, {"images": [2]})
        refuse.append(False)
        answer(request)

    server.answers["/v2/images"] = once
    assert client(server).get("image", "/v2/images") == {"images": [2]}
    server.answers["/v2/images"] = says(401, {"error": {"message": "no"}})
    error = images_refusal(ApiRefused, client(server))
    assert "answered 401: no" in error.came_back


def test_a_forbidden_question_is_a_refusal(server):
    server.answers["/v2/images"] = says(403, {"message": "not for you"})
    assert "role admin" in images_refusal(ApiRefused, client(server)).remedy


def test_an_answer_that_is_not_json(server):
    server.answers["/v2/images"] = says(200, text="<html><title>It works!</title></html>")
    error = images_refusal(ApiFailed, client(server))
    assert "not JSON: It works!" in error.came_back
    server.answers["/v3/auth/tokens"] = says(200, text="<html><title>It works!</title></html>")
    images_refusal(ApiFailed, client(server))


def test_a_region_without_the_endpoint_names_those_that_have_it(server):
    asked = client(server, OS_REGION_NAME="RegionTow")
    error = images_refusal(ApiNotAsked, asked)
    assert "no public image endpoint in region RegionTow" in error.came_back
    assert "it knows no region RegionTow at all" in error.came_back
    assert "correct `region`" in error.remedy
    assert "RegionOne, RegionTwo" in error.came_back
    with pytest.raises(ApiFailed, match="no public orchestration endpoint"):
        client(server).get("orchestration", "/stacks")


def test_an_endpoint_that_its_region_lacks_is_failed(server):
    known = behaviour.catalogue(server.url)
    for service in known:
        if service["type"] == "image":
            service["endpoints"] = service["endpoints"][:1]
    server.answers["/v3/auth/tokens"] = says(201, behaviour.token(known), X_Subject_Token="t")
    error = images_refusal(ApiFailed, client(server, OS_REGION_NAME="RegionTwo"))
    assert "in region RegionTwo; it has one in RegionOne" in error.came_back


def test_an_expired_certificate_is_called_expired(tmp_path):
    pair = certificate(tmp_path, days=-1)
    with api(pair) as server:
        error = images_refusal(ApiUnreachable, client(server, OS_CACERT=str(pair[0])))
    assert "certificate has expired" in error.came_back
    assert "openssl s_client -connect 127.0.0.1:" in error.remedy


def test_an_unknown_authority_and_its_remedy(tmp_path):
    pair = certificate(tmp_path, days=10)
    with api(pair) as server:
        assert "OS_CACERT" in images_refusal(ApiUnreachable, client(server)).remedy
        trusting = client(server, OS_CACERT=str(pair[0]))
        assert trusting.get("image", "/v2/images") == {"images": []}
        server.answers["/v2/images"] = behaviour.trickles
        hurried = client(server, OS_CACERT=str(pair[0]), bound=0.5)
        assert "within 0.5 s" in images_refusal(ApiUnreachable, hurried).came_back


def test_plain_http_where_tls_was_expected(server):
    asked = client(server, OS_AUTH_URL=server.url.replace("http:", "https:"))
    assert "without TLS" in images_refusal(ApiUnreachable, asked).came_back


def test_the_newest_of_the_aliases_of_block_storage_is_asked(server):
    server.answers["/volume/v3/p1/volumes"] = says(200, {"volumes": []})
    assert client(server).get("block-storage", "/volumes") == {"volumes": []}


def test_what_a_deep_check_does_with_an_object(server):
    path = "/v1/AUTH_p1/c/o"
    server.answers |= {
        f"PUT {path}": says(201, text=""),
        f"GET {path}": says(200, text="bytes, not JSON", ETag="abc"),
        f"HEAD {path}": says(200, text="", X_Object_Meta_Run="7"),
        f"DELETE {path}": says(404, text="gone"),
        "POST /v2/images": says(201, {"id": "i1"}),
    }
    asked = client(server)
    asked.put("object-store", "/c/o", b"\x00\xff")
    assert server.seen[-1][3] == b"\x00\xff"
    assert server.seen[-1][2]["Content-Type"] == "application/octet-stream"
    assert asked.read("object-store", "/c/o") == b"bytes, not JSON"
    got = asked.request("GET", "object-store", "/c/o", headers={"X-Newest": "true"})
    assert (got.status, got.body, got.headers["etag"]) == (200, b"bytes, not JSON", "abc")
    assert server.seen[-1][2]["X-Newest"] == "true"
    assert asked.head("object-store", "/c/o")["x-object-meta-run"] == "7"
    asked.delete("object-store", "/c/o")
    assert asked.post("image", "/v2/images", {"name": "x"}) == {"id": "i1"}


@pytest.mark.parametrize(
    ("endpoint", "path", "url"),
    [
        ("http://h:5000/v3", "/v3/projects", "http://h:5000/v3/projects"),
        ("http://h:5000", "/v3/projects", "http://h:5000/v3/projects"),
        ("http://h:9696/", "/v2.0/agents", "http://h:9696/v2.0/agents"),
        ("http://h:8774/v2.1", "/servers", "http://h:8774/v2.1/servers"),
        ("http://h/v1/AUTH_p", "/v3/object", "http://h/v1/AUTH_p/v3/object"),
        ("http://h/v1/AUTH_p", "", "http://h/v1/AUTH_p"),
    ],
)
def test_an_endpoint_and_a_path_give_one_version(endpoint, path, url):
    assert joined(endpoint, path) == url


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"OS_PASSWORD": ""}, "OS_PASSWORD is not set"),
        ({"OS_AUTH_URL": ""}, "OS_AUTH_URL is not set"),
        ({"OS_AUTH_URL": "10.0.0.5:5000"}, "OS_AUTH_URL is `10.0.0.5:5000`"),
        ({"OS_AUTH_URL": "http://h:5000/v2.0"}, "no longer exists"),
        ({"OS_PROJECT_NAME": ""}, "OS_PROJECT_NAME"),
        ({"OS_AUTH_TYPE": "v3kerberos"}, "`v3kerberos` is not supported"),
        ({"OS_AUTH_TYPE": "v3oidcpassword"}, "OS_IDENTITY_PROVIDER is not set"),
        ({"OS_AUTH_TYPE": "v3multifactor"}, "OS_AUTH_METHODS is not set"),
        ({"OS_AUTH_URL": "http://{region_name}:5000/v3"}, "placeholder"),
    ],
)
def test_credentials_that_do_not_suffice_name_what_is_missing(server, others, said):
    with pytest.raises(InventoryError, match=said):
        client(server, **others)


def test_the_endpoints_are_those_of_the_region(server):
    asked = client(server)
    urls = {endpoint.service_type: endpoint.url for endpoint in asked.endpoints()}
    assert len(asked.endpoints()) == len(urls) == 5
    assert urls["object-store"] == f"{server.url}/v1/AUTH_p1"
    assert asked.auth_url == f"{server.url}/v3"


def test_what_is_null_in_a_token_is_absent(server):
    sent = behaviour.token([])
    for name in ("catalog", "project", "roles"):
        sent["token"][name] = None
    server.answers["/v3/auth/tokens"] = says(201, sent, X_Subject_Token="t")
    assert client(server).endpoints() == []


def test_an_application_credential_needs_no_project(server):
    server.answers["/v3/auth/tokens"] = says(
        201, behaviour.token(behaviour.catalogue(server.url)), X_Subject_Token="t"
    )
    given = {
        "OS_AUTH_URL": f"{server.url}/v3",
        "OS_AUTH_TYPE": "v3applicationcredential",
        "OS_APPLICATION_CREDENTIAL_ID": "a1",
        "OS_APPLICATION_CREDENTIAL_SECRET": "s",
    }
    OpenStackApi(given).authenticate()
    auth = json.loads(server.seen[-1][3])["auth"]
    assert auth["identity"]["application_credential"] == {"id": "a1", "secret": "s"}
    assert "scope" not in auth


def test_the_interface_of_the_credentials_counts_where_cloud_yaml_has_none(server):
    given = variables(server, OS_INTERFACE="internal")
    assert OpenStackApi(given).interface == "internal"
    assert OpenStackApi(given, interface="admin").interface == "admin"
    assert OpenStackApi(variables(server)).interface == "public"


@pytest.mark.parametrize("name", ["OS_CACERT", "OS_CERT", "OS_KEY"])
def test_a_file_that_is_named_and_not_there_is_said_at_once(server, tmp_path, name):
    pair = {"OS_CERT": str(certificate(tmp_path, days=10)[0])} if name == "OS_KEY" else {}
    given = variables(server, **{**pair, name: f"{tmp_path}/none.pem"})
    with pytest.raises(InventoryError, match=f"{name} is {tmp_path}/none.pem, which cannot"):
        OpenStackApi(given)
    (tmp_path / "none.pem").write_text("no certificate")
    with pytest.raises(InventoryError, match="no file of its kind"):
        OpenStackApi(given)
    if name == "OS_CACERT":
        client(server, OS_CACERT=f"{tmp_path}/absent", OS_INSECURE="true")


@pytest.fixture
def dead_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://user:secret@127.0.0.1:{unused.getsockname()[1]}"


def test_a_dead_proxy_is_named_and_keystone_is_not(server, dead_proxy, monkeypatch):
    for scheme in ("http", "https"):
        url = server.url.replace("http:", f"{scheme}:")
        monkeypatch.setenv(f"{scheme}_proxy", dead_proxy)
        asked = client(server, OS_AUTH_URL=f"{url}/v3")
        error = images_refusal(ApiNotAsked, asked)
        assert "the proxy http://127.0.0.1:" in error.came_back
        assert "refuses connections" in error.came_back
        assert f"{scheme}_proxy" in error.remedy
        assert "secret" not in f"{error} {error.remedy}"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert client(server).get("image", "/v2/images") == {"images": []}


def test_the_proxies_of_the_credentials_come_first(server, dead_proxy, monkeypatch):
    images_refusal(ApiNotAsked, client(server, http_proxy=dead_proxy))
    working = client(server, http_proxy=dead_proxy, no_proxy="127.0.0.0/8")
    assert working.get("image", "/v2/images") == {"images": []}
    monkeypatch.setenv("http_proxy", dead_proxy)
    working = client(server, no_proxy="localhost,127.0.0.1")
    assert working.get("image", "/v2/images") == {"images": []}


def test_an_api_that_was_not_asked_is_unknown():
    refused = ApiNotAsked("asking", came_back="the proxy", remedy="")
    answer = Answered(service="glance", name="image list", error=refused)
    services = [one for one in all_services() if one.name == "glance"]
    (finding,) = judge_answers(ApiObservation(answers=(answer,)), services, {}, Limits())
    assert finding.severity is Severity.UNKNOWN


VERSIONS = {
    "versions": [
        {"id": "v2.0", "status": "SUPPORTED", "links": [{"rel": "self", "href": "/c/v2/"}]},
        {
            "id": "v2.1",
            "status": "CURRENT",
            "links": [{"rel": "self", "href": "http://10.9.9.9:1/c/v2.1/"}],
        },
        {"id": "v9.0", "status": "EXPERIMENTAL", "links": [{"rel": "self", "href": "/c/v9/"}]},
        {"id": "no version", "links": "odd"},
    ]
}


def with_endpoint(server: Server, path: str) -> None:
    services = behaviour.catalogue(server.url)
    services[0] = services[0] | {"type": "compute"}
    services[0]["endpoints"] = [
        one | {"url": f"{server.url}{path}"} for one in services[0]["endpoints"]
    ]
    document = behaviour.token([*services[:1]])
    server.answers["/v3/auth/tokens"] = says(201, document, X_Subject_Token="t")


def test_the_version_of_an_endpoint_without_one_is_looked_up_once_on_the_same_server(server):
    with_endpoint(server, "/c/")
    server.answers |= {
        "/c/": says(300, VERSIONS),
        "/c/v2.1/servers": says(200, {"servers": []}),
    }
    asked = client(server)
    for _ in range(2):
        assert asked.get("compute", "/servers") == {"servers": []}
    assert server.count("GET", "/c/") == 1


@pytest.mark.parametrize("answer", [says(404, {}), says(200, {"versions": 7}), says(200, text="x")])
def test_an_endpoint_that_lists_no_versions_is_asked_as_it_is(server, answer):
    with_endpoint(server, "/c")
    server.answers |= {"/c": answer, "/c/providers": says(200, {"providers": []})}
    assert client(server).get("compute", "/providers") == {"providers": []}


def test_where_version_3_of_the_identity_service_is_found_out(server):
    document = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": "/i/v3/"}]}
    server.answers["/odd"] = says(300, {"versions": {"values": [document]}})
    server.answers["/i/v3/auth/tokens"] = behaviour.gives_a_token
    asked = client(server, OS_AUTH_URL=f"{server.url}/odd/")
    assert asked.get("image", "/v2/images") == {"images": []}
    assert asked.auth_url == f"{server.url}/i/v3"
    assert client(server, OS_AUTH_URL=server.url).authenticate()["user"] == "admin"


@pytest.mark.parametrize(
    ("scope", "said"),
    [({"system": {"all": True}}, "system"), ({"domain": {"id": "d", "name": "n"}}, "domain")],
)
def test_what_a_token_without_a_project_is_not_shown(server, scope, said):
    document = behaviour.token([])
    del document["token"]["project"]
    document["token"] |= scope
    server.answers["/v3/auth/tokens"] = says(201, document, X_Subject_Token="t")
    with pytest.raises(ApiFailed, match=f"{said} scope and no project") as caught:
        client(server).get("block-storage", "/volumes")
    assert "OS_PROJECT_NAME" in caught.value.remedy


def test_a_placeholder_that_was_not_filled_in_is_named(server):
    with_endpoint(server, "/v2.1/%(tenant_id)s")
    with pytest.raises(ApiFailed, match="placeholder for a project"):
        client(server).get("compute", "/servers")
