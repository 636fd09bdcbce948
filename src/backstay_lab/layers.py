"""Package layers: the base system, and one layer of packages per role on top of it.

A layer's folder is named by the digest of all that goes into it, so that it is made again when a
list changes, and appears by an atomic rename only once it is finished. All layers lie in
``/var/lib/backstay/layers`` and are shared by the labs of a machine; nothing ever writes to a
finished one.
"""

import ast
import fcntl
import hashlib
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backstay_lab import apt, programs
from backstay_lab.container import machine_name
from backstay_lab.disk import OVERLAY_OPTIONS
from backstay_lab.errors import LabError
from backstay_lab.layout import Lab, archives_folder, layers_folder

DATA = Path(__file__).parent / "data"
BASE = "base"
PUPPET = "puppet"
DOWNLOAD_BOUND = 900
INSTALL_BOUND = 1200

# dpkg need not wait for the disk: an unfinished layer is thrown away
UNSAFE_IO = "force-unsafe-io\n"

DOWNLOAD = """
apt-get -q -y --no-install-recommends --download-only install {packages} ||
{{ apt-get -q update; apt-get -q -y --no-install-recommends --download-only install {packages}; }}
"""

# Services must not start while a layer is made: policy-rc.d as in invoke-rc.d(8). APT would lock
# the shared archives also for installing what is there, without waiting; dpkg's own lock stays.
INSTALL = """
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -q -y --no-install-recommends --no-download -o Debug::NoLocking=true \
  -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install {packages}
rm -f /usr/sbin/policy-rc.d
"""

UPDATE = """
apt-get -q update
apt-get -q -y dist-upgrade
"""

# The overlay is mounted in a mount namespace of its own: it goes when the last process goes.
IN_LAYER = """
mount -t overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK,$OPTIONS" backstay-layer "$POINT"
exec "$@"
"""

_downloads = threading.Lock()


def parse_packages(text: str) -> list[str]:
    """Return the names in a package list: one a line, ``#`` begins a comment."""
    names = (line.partition("#")[0].strip() for line in text.splitlines())
    return [name for name in names if name]


def packages(name: str) -> list[str]:
    """Return the package list of the base or of a role; every role has Puppet's list as well."""
    lists = [name] if name == BASE else [PUPPET, name]
    texts = ((DATA / "packages" / part).read_text() for part in lists)
    return list(dict.fromkeys(found for text in texts for found in parse_packages(text)))


def digest(*parts: str) -> str:
    """Return a short name for the exact content of some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def code(source: str) -> str:
    """Return what a module does, without what has no effect: comments, docstrings, imports."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _without_effect(part)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _without_effect(node: ast.AST) -> bool:
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return text or isinstance(node, ast.Import | ast.ImportFrom)


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that goes into the layers of this machine: names each of them."""

    configuration: apt.AptConfiguration
    architecture: str

    @property
    def base_folder(self) -> Path:
        """The finished base layer: a whole root file system."""
        setup = (DATA / "base" / "setup.sh").read_text()
        name = digest(
            self.configuration.codename,
            self.architecture,
            self.configuration.sources_file(),
            self.configuration.settings_file(),
            *packages(BASE),
            setup,
            UPDATE,
            INSTALL,
        )
        return layers_folder() / f"{BASE}-{name}"

    def role_folder(self, role: str) -> Path:
        """Return the finished layer of a role: what its packages add to the base."""
        name = digest(self.base_folder.name, INSTALL, *packages(role))
        return layers_folder() / f"{role}-{name}"

    def lowers(self, role: str | None) -> list[Path]:
        """Return the layers below a host's disk, uppermost first; no role: a bare host."""
        return [*([self.role_folder(role)] if role else []), self.base_folder]


def ensure_base(recipe: Recipe, lab: Lab) -> Path:
    """Make the base layer where it is missing; return its folder. Raises LabError."""
    with _claimed(recipe.base_folder) as part:
        if part:
            _make_base(recipe, lab, part)
            part.rename(recipe.base_folder)
    return recipe.base_folder


def ensure_role(recipe: Recipe, lab: Lab, role: str) -> Path:
    """Make a role's layer where it is missing, the base being there; return its folder."""
    folder = recipe.role_folder(role)
    with _claimed(folder) as part:
        if part:
            _make_role(recipe, lab, role, part)
            (part / "upper").rename(folder)
            shutil.rmtree(part)
    return folder


@contextmanager
def _claimed(folder: Path) -> Iterator[Path | None]:
    """Return an empty folder to make a layer in, or None where it is finished; one maker at a time.

    What an interrupted maker left is removed first.
    """
    layers_folder().mkdir(parents=True, exist_ok=True)
    archives_folder().mkdir(parents=True, exist_ok=True)
    with (layers_folder() / f".{folder.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        part = layers_folder() / f".{folder.name}.part"
        if part.exists():
            shutil.rmtree(part)
        if folder.exists():
            yield None
            return
        part.mkdir()
        yield part


def _make_base(recipe: Recipe, lab: Lab, part: Path) -> None:
    main = recipe.configuration.main
    keyring = [f"--keyring={main.signed_by}"] if main.signed_by.startswith("/") else []
    environment = {
        **apt.machine_environment(),
        **apt.download_environment(recipe.configuration),
    }
    programs.run(
        [
            "unshare",
            "--mount",
            "--propagation=private",
            "debootstrap",
            "--variant=minbase",
            f"--arch={recipe.architecture}",
            f"--cache-dir={archives_folder()}",
            "--components=main",
            *keyring,
            recipe.configuration.codename,
            str(part),
            main.uri,
        ],
        attempted="making the base system",
        bound=DOWNLOAD_BOUND,
        env=environment,
        cgroup=lab.cgroup("build-base"),
        log=_log(lab, BASE),
    )
    _configure_apt(recipe.configuration, part)
    names = " ".join(packages(BASE))
    script = UPDATE + INSTALL.replace("--no-download", "").format(packages=names)
    script += (DATA / "base" / "setup.sh").read_text()
    _in_container(recipe, lab, BASE, part, script="set -eu\n" + script, bound=INSTALL_BOUND)


def _configure_apt(configuration: apt.AptConfiguration, root: Path) -> None:
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    (root / "etc/apt/sources.list.d/machine.sources").write_text(configuration.sources_file())
    (root / "etc/apt/apt.conf.d/50machine").write_text(configuration.settings_file())
    (root / "etc/dpkg/dpkg.cfg.d/backstay-lab").write_text(UNSAFE_IO)
    for keyring in configuration.keyrings():
        inside = root / keyring.relative_to("/")
        if not inside.exists():
            inside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(keyring, inside)


def _make_role(recipe: Recipe, lab: Lab, role: str, part: Path) -> None:
    for name in ("upper", "work", "root"):
        (part / name).mkdir()
    names = " ".join(packages(role))
    with _one_download():
        script = "set -eu\n" + DOWNLOAD.format(packages=names)
        _in_container(recipe, lab, role, part, script=script, bound=DOWNLOAD_BOUND)
    script = "set -eu\n" + INSTALL.format(packages=names)
    _in_container(recipe, lab, role, part, script=script, bound=INSTALL_BOUND)


@contextmanager
def _one_download() -> Iterator[None]:
    """Hold the right to download: APT's lock on the shared archives does not wait."""
    with _downloads, (archives_folder() / ".backstay-lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _in_container(
    recipe: Recipe, lab: Lab, layer: str, part: Path, *, script: str, bound: float
) -> None:
    """Run a script with the layer under construction as its root, on the machine's network."""
    group = lab.cgroup(f"build-{layer}")
    overlay = layer != BASE
    container = [
        "systemd-nspawn",
        "--quiet",
        f"--directory={part / 'root' if overlay else part}",
        f"--machine={machine_name(group)}",
        "--register=no",
        "--keep-unit",
        "--as-pid2",
        "--pipe",
        "--resolv-conf=copy-host",
        "--timezone=off",
        f"--bind={archives_folder()}:/var/cache/apt/archives",
        *(
            f"--setenv={key}={value}"
            for key, value in apt.download_environment(recipe.configuration).items()
        ),
        "sh",
        "-s",
    ]
    mounted = ["sh", "-euc", IN_LAYER, "sh"] if overlay else []
    programs.run(
        ["unshare", "--mount", "--propagation=private", *mounted, *container],
        attempted=f"making the {layer} layer",
        bound=bound,
        stdin=script,
        env={
            "LOWER": str(recipe.base_folder),
            "UPPER": str(part / "upper"),
            "WORK": str(part / "work"),
            "POINT": str(part / "root"),
            "OPTIONS": OVERLAY_OPTIONS,
        },
        cgroup=group,
        log=_log(lab, layer),
    )


def _log(lab: Lab, layer: str) -> Path:
    return lab.folder / "logs" / f"layer-{layer}.log"


def remove_unfinished() -> None:
    """Remove what interrupted makers left; the caller has ended them. Raises LabError if busy."""
    for part in layers_folder().glob(".*.part"):
        try:
            shutil.rmtree(part)
        except OSError as error:
            raise LabError(
                "removing an unfinished layer",
                came_back=f"{part}: {error.strerror}",
                remedy="another lab may be making it: wait for it to end",
            ) from error
