"""The files of tests/fixtures/credentials, given to Backstay and to the openstack client.

Both ask a cloud on loopback that writes down what it is asked: the same token is asked for, and the
same endpoint is chosen; or Backstay refuses in words what it does not support.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from backstay.errors import BackstayError
from backstay.inventory.account import Credentials
from backstay.inventory.credentials import variables
from backstay.transports.openstack import OpenStackApi
from tests.inventory.recording_cloud import Cloud, Seen, recording_cloud

CORPUS = Path(__file__).parents[1] / "fixtures" / "credentials"
NAME = "prod"
# What Backstay does not do, or keystone always refuses, though the client sends it.
NOT_SUPPORTED = frozenset(
    {
        "clouds-boolean-password",
        "clouds-identity-3.0",
        "clouds-interface-list",
        "clouds-no-domain",
        "clouds-profile-of-vendor",
        "clouds-profile-unknown",
        "clouds-verify-text",
        "openrc-application-with-project",
        "openrc-identity-2",
        "openrc-keystone-to-keystone",
        "openrc-no-version-of-identity",
        "openrc-unscoped",
    }
)
# What the client refuses, too, or asks a person for.
REFUSED: frozenset[str] = NOT_SUPPORTED | {
    "clouds-date",
    "clouds-oidc",
    "clouds-typing-error",
    "openrc-admin-token",
    "openrc-application-without-type",
    "openrc-auth-url-2",
    "openrc-cloud-wrong-region",
    "openrc-crlf",
    "openrc-horizon-asks",
    "openrc-kerberos",
    "openrc-none",
    "openrc-not-exported",
    "openrc-saml",
    "openrc-system-and-project",
    "openrc-token-without-domain",
    "openrc-token-without-type",
    "openrc-unknown-type",
    "openrc-v2password",
}
AT_LEAST = 60


@dataclass(frozen=True)
class Case:
    """``theirs`` and ``ours`` are what the cloud saw; ``error`` is Backstay's."""

    name: str
    theirs: Seen
    ours: Seen
    error: BackstayError | None

    @property
    def outcome(self) -> str:
        if self.error is not None and not self.ours.tokens:
            return "refused"
        same = (self.theirs.tokens[:1], self.theirs.servers[:1]) == (
            self.ours.tokens[:1],
            self.ours.servers[:1],
        )
        if same and self.ours.tokens:
            return "same"
        return "different"


def copied(folder: Path, cloud: Cloud) -> list[Path]:
    """Return the folders of the corpus, with the cloud's address in their files."""
    for given in sorted(CORPUS.iterdir()):
        place = folder / given.name
        shutil.copytree(given, place)
        for file in place.iterdir():
            file.write_bytes(file.read_bytes().replace(b"@SERVER@", cloud.url.encode()))
            file.chmod(0o600)
    return sorted(folder.iterdir())


def clean_environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def sourced(place: Path) -> dict[str, str]:
    """Return what a person's shell holds after `source openrc`."""
    script = "source ./openrc >/dev/null 2>&1; exec env -0"
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=place,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    pairs = (pair.partition("=") for pair in ran.stdout.decode().split("\0") if pair)
    return {name: value for name, _, value in pairs}


def asked_by_client(places: list[Path], cloud: Cloud) -> dict[str, str]:
    """Let the client ask for every folder; the cloud sees it. Return what the client said."""
    cases = []
    for place in places:
        has_openrc = (place / "openrc").exists()
        cases.append(
            {
                "name": f"theirs-{place.name}",
                "folder": str(place),
                "server": cloud.url,
                "environment": sourced(place) if has_openrc else clean_environment(),
                "arguments": [] if has_openrc else ["--os-cloud", NAME],
            }
        )
    ran = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("client_runner.py"))],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        timeout=1500,
    )
    answers: dict[str, str] = json.loads(ran.stdout)
    return answers


def asked_by_backstay(place: Path, cloud: Cloud) -> BackstayError | None:
    cloud.case = f"ours-{place.name}"
    openrc = place / "openrc"
    files = [file for file in place.iterdir() if file.stem == "clouds"]
    given = (
        Credentials(openrc=openrc) if openrc.exists() else Credentials(clouds=NAME, file=files[0])
    )
    try:
        api = OpenStackApi(variables(given), bound=5)
        api.get("compute", "/servers")
    except BackstayError as error:
        return error
    return None


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    pytest.importorskip("openstackclient")
    with recording_cloud() as cloud, pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("OS_") or name.lower().endswith("_proxy"):
                patch.delenv(name)
        patch.setenv("HOME", "/nonexistent")
        places = copied(tmp_path_factory.mktemp("corpus"), cloud)
        said = asked_by_client(places, cloud)
        found = []
        for place in places:
            error = asked_by_backstay(place, cloud)
            theirs = cloud.seen.get(f"theirs-{place.name}", Seen())
            ours = cloud.seen.get(f"ours-{place.name}", Seen())
            found.append(Case(place.name, theirs, ours, error))
        assert said.keys() == {f"theirs-{place.name}" for place in places}
        yield found, said


def test_what_is_asked_is_the_same_or_refused_in_words(cases):
    found, said = cases
    counts = Counter(case.outcome for case in found)
    print(f"{len(found)} files: {dict(sorted(counts.items()))}")
    different = [
        f"{case.name}:\n  client    {case.theirs} {said[f'theirs-{case.name}']}\n"
        f"  Backstay  {case.ours} {case.error}"
        for case in found
        if case.outcome == "different"
    ]
    assert not different, "\n".join(different)
    assert counts["same"] >= AT_LEAST
    assert {case.name for case in found if case.outcome == "refused"} == REFUSED


def test_a_refusal_says_what_to_do(cases):
    for case in cases[0]:
        if case.error is not None:
            assert case.error.remedy, case.name
            assert "secret" not in f"{case.error} {case.error.remedy}", case.name


def test_where_the_client_asks_for_a_token_backstay_refuses_few(cases):
    """Most of what Backstay refuses the client fails with, too, or keystone would refuse it."""
    assert {case.name for case in cases[0] if case.error and case.theirs.tokens} <= NOT_SUPPORTED
