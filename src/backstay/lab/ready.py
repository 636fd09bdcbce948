"""Waiting until hosts and the cloud on them are usable, with a bound."""

import json
import socket
import time
from collections.abc import Callable

from backstay.errors import LabError
from backstay.inventory.words import Role
from backstay.lab.hosts import LabHost

# Asked on the controller with its own client library: one process and one token for all.
# It prints one line for each thing that is not there yet, and nothing when all is.
CLOUD_QUESTIONS = """
import os, sys, json, urllib.request, urllib.error
auth, password, computes = sys.argv[1], sys.stdin.readline().strip(), int(sys.argv[2])
def ask(url, token=None, body=None):
    headers = {"Content-Type": "application/json"}
    if token: headers["X-Auth-Token"] = token
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)
    answer = urllib.request.urlopen(request, timeout=20)
    return answer, json.load(answer)
user = {"name": "admin", "domain": {"name": "Default"}, "password": password}
scope = {"project": {"name": "admin", "domain": {"name": "Default"}}}
login = {"auth": {"scope": scope, "identity": {"methods": ["password"],
         "password": {"user": user}}}}
try:
    answer, token = ask(auth + "/auth/tokens", body=login)
except OSError as error:
    sys.exit(print("keystone:", error))
key = answer.headers["X-Subject-Token"]
urls = {}
for entry in token["token"]["catalog"]:
    for endpoint in entry["endpoints"]:
        if endpoint["interface"] == "public": urls[entry["type"]] = endpoint["url"].rstrip("/")
def check(kind, path, judge):
    if kind not in urls: return
    try:
        for problem in judge(ask(urls[kind] + path, key)[1]): print(problem)
    except (OSError, ValueError, KeyError) as error:
        print(kind + ":", error)
def services(answer):
    found = [s for s in answer["services"] if s["status"] == "enabled"]
    return [f"{s['binary']} on {s['host']} is {s['state']}" for s in found if s["state"] != "up"]
def nova(answer):
    hosts = {s["host"] for s in answer["services"] if s["binary"] == "nova-compute"}
    few = [] if len(hosts) >= computes else [f"{len(hosts)} of {computes} nova-compute registered"]
    return few + services(answer)
def agents(answer):
    return [f"{a['binary']} on {a['host']} is down" for a in answer["agents"] if not a["alive"]]
def servers(answer):
    return [f"instance {s['name']} is {s['status']}" for s in answer["servers"]
            if s["status"] not in ("ACTIVE", "SHUTOFF", "ERROR")]
check("image", "/v2/images?limit=1", lambda answer: [])
check("compute", "/os-services", nova)
check("compute", "/servers/detail?all_tenants=1", servers)
check("network", "/v2.0/agents", agents)
check("volumev3", "/os-services", services)
check("block-storage", "/os-services", services)
"""


def await_condition(
    problems: Callable[[], list[str]], *, attempted: str, bound: float, pause: float, remedy: str
) -> None:
    """Ask until there is no problem left; raise LabError with the last ones after ``bound`` s."""
    deadline = time.monotonic() + bound
    while found := problems():
        if time.monotonic() > deadline:
            raise LabError(attempted, came_back="; ".join(found), remedy=remedy)
        time.sleep(pause)


def await_ssh(host: LabHost, bound: float = 60) -> None:
    """Wait until the host's SSH server greets. Raises LabError."""
    await_condition(
        lambda: _no_greeting(host),
        attempted=f"waiting for SSH on {host.name}",
        bound=bound,
        pause=0.2,
        remedy=f"read {host.folder / 'console.log'}",
    )


def _no_greeting(host: LabHost) -> list[str]:
    try:
        with socket.create_connection((host.address, 22), timeout=2) as connection:
            connection.settimeout(5)
            if connection.recv(4) == b"SSH-":
                return []
    except OSError as error:
        return [str(error)]
    return ["something else than SSH greets on port 22"]


def await_units(host: LabHost, bound: float = 120) -> None:
    """Wait until the host's systemd has finished starting. Raises LabError."""
    await_condition(
        lambda: _starting(host),
        attempted=f"waiting for {host.name} to start its services",
        bound=bound,
        pause=1,
        remedy=f"backstay lab shell {host.name} systemctl list-jobs",
    )


def _starting(host: LabHost) -> list[str]:
    done = host.run(["systemctl", "is-system-running"], check=False, bound=20)
    word = done.stdout.strip()
    return [] if word in ("running", "degraded") else [f"systemd says {word or 'nothing'}"]


def await_cloud(controller: LabHost, admin_password: str, computes: int, bound: float) -> None:
    """Wait until the APIs answer and every agent reports itself alive. Raises LabError."""
    if controller.role is not Role.CONTROLLER:
        raise ValueError(controller.name)
    await_condition(
        lambda: _cloud_problems(controller, admin_password, computes),
        attempted="waiting for the cloud to be healthy",
        bound=bound,
        pause=2,
        remedy="backstay check; logs are in each host's journal: backstay lab shell HOST",
    )


def _cloud_problems(controller: LabHost, admin_password: str, computes: int) -> list[str]:
    auth = f"http://{controller.address}:5000/v3"
    script = f"import sys; sys.argv = ['-', {json.dumps(auth)}, '{computes}']\n{CLOUD_QUESTIONS}"
    done = controller.run(
        ["python3", "-I", "-c", script], stdin=f"{admin_password}\n", check=False, bound=120
    )
    lines = done.stdout.split("\n") if done.returncode == 0 else [done.stderr.strip()[-300:]]
    return [line for line in lines if line.strip()]
