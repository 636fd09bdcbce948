"""The content of a host: ``puppet apply`` of the project's manifest inside of it."""

import hashlib
import json
import shutil
from pathlib import Path

from backstay_lab import layers
from backstay_lab.files import write_private
from backstay_lab.hosts import LabHost
from backstay_lab.layout import REGION, Lab
from backstay_lab.secrets import as_yaml, load

PUPPET = layers.DATA / "puppet"
INSIDE = "/etc/backstay/puppet"
BUILD_TARGET = "backstay-build.target"
PUPPET_BOUND = 1500
# what else decides the content of built hosts, beside the data: the modules that seed the cloud
CONTENT_MODULES = ("seed*.py", "guest*.py", "build.py")


def lab_values(lab: Lab, host: LabHost) -> dict[str, object]:
    """Return the hiera values that describe the lab and this host."""
    storage = [lab.address(place) for place in lab.places.values() if place.role == "storage"]
    return {
        "lab::controller_address": lab.address(lab.places["controller"]),
        "lab::proxy_address": lab.address(lab.places["proxy"]),
        "lab::storage_addresses": storage,
        "lab::address": host.address,
        "lab::hostname": host.name,
        "lab::compute_count": lab.computes,
        "lab::provider_cidr": f"{lab.provider_net}.0/24",
        "lab::provider_gateway": f"{lab.provider_net}.1",
        "lab::management_cidr": f"{lab.management_net}.0/24",
        "lab::region": REGION,
    }


def hiera_yaml(values: dict[str, object]) -> str:
    """Return values as YAML; JSON values are YAML values."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())


def write_puppet(host: LabHost) -> None:
    """Copy the manifests and the generated values to where Puppet reads them in the host."""
    inside = host.root / INSIDE.lstrip("/")
    if inside.exists():
        shutil.rmtree(inside)
    shutil.copytree(PUPPET, inside)
    inside.chmod(0o700)
    data = inside / "data"
    (data / "lab.yaml").write_text(hiera_yaml(lab_values(host.lab, host)))
    secrets = load(host.lab.secrets_file)
    write_private(data / "secrets.yaml", as_yaml(secrets, "lab::secrets::"))


def apply_puppet(host: LabHost) -> None:
    """Run Puppet in the running host; its log is ``logs/puppet-HOST.log`` in the lab's folder.

    Exit status 0 means nothing to change and 2 that changes were made: --detailed-exitcodes in
    puppet-apply(8). Raises LabError with the last lines of the log otherwise.
    """
    write_puppet(host)
    log = host.lab.folder / "logs" / f"puppet-{host.name}.log"
    log.unlink(missing_ok=True)
    host.run(
        [
            "puppet",
            "apply",
            "--detailed-exitcodes",
            "--color=false",
            f"--hiera_config={INSIDE}/hiera.yaml",
            f"--modulepath={INSIDE}/modules:/usr/share/puppet/modules",
            f"{INSIDE}/manifests/{host.place.manifest}.pp",
        ],
        env={"FACTER_backstay_role": str(host.place.manifest)},
        bound=PUPPET_BOUND,
        log=log,
        accept=(0, 2),
    )


def content_key(lab: Lab, recipe: layers.Recipe) -> str:
    """Return the digest of all that decides what built hosts hold: other content, another build.

    Comments, docstrings and imports of the modules do not count.
    """
    roles = sorted({place.manifest for place in lab.places.values() if place.manifest})
    parts = [recipe.role_folder(role).name for role in roles]
    parts += [str(lab.computes), lab.management_net]
    here = Path(__file__).parent
    files = [file for file in layers.DATA.rglob("*") if file.is_file()]
    files += [file for pattern in CONTENT_MODULES for file in here.glob(pattern)]
    for file in sorted(files):
        content = file.read_bytes()
        if file.suffix == ".py":
            content = layers.code(content.decode()).encode()
        parts += [file.relative_to(here).as_posix(), hashlib.sha256(content).hexdigest()]
    return layers.digest(*parts)
