"""Projects and users of the seeded cloud."""

from typing import Any

from backstay.jsondata import Json
from backstay_lab.cloud_api import CloudApi

PROJECTS = ("demo", "shop")
"""Each has a user of the same name, whose password is the secret ``NAME_password``."""


def ensure_projects(admin: CloudApi, passwords: dict[str, str]) -> dict[str, dict[str, str]]:
    """Make the projects with their users; return their ids: ``{name: {id, user, user_id}}``.

    ``passwords`` are by project. The administrator gets a place in each project too, so that
    instances can be put on a given host, which only an administrator may. Raises LabError.
    """
    roles = {role["name"]: role["id"] for role in admin.get("identity", "/v3/roles")["roles"]}
    admin_id = _named(admin, "users", admin.user)["id"]
    made = {}
    for name in PROJECTS:
        project = _ensure(admin, "project", name, {"description": "seeded by backstay-lab"})
        user = _ensure(
            admin,
            "user",
            name,
            {"password": passwords[name], "default_project_id": project["id"]},
        )
        for user_id, role in ((user["id"], "member"), (admin_id, "admin"), (admin_id, "member")):
            path = f"/v3/projects/{project['id']}/users/{user_id}/roles/{roles[role]}"
            admin.call("PUT", "identity", path)
        made[name] = {"id": project["id"], "user": name, "user_id": user["id"]}
    return made


def _named(admin: CloudApi, plural: str, name: str) -> Json:
    found = admin.get("identity", f"/v3/{plural}?name={name}")[plural]
    return found[0] if found else None


def _ensure(admin: CloudApi, kind: str, name: str, settings: dict[str, str]) -> Any:  # noqa: ANN401
    known = _named(admin, f"{kind}s", name)
    if known:
        return known
    return admin.post("identity", f"/v3/{kind}s", {kind: {"name": name, **settings}})[kind]
