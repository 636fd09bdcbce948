"""``lab up``: from any state of the machine to a running lab.

Hosts with a role are built once (packages, Puppet, seed), shut down cleanly, and their disks
kept. From then on ``lab up`` starts fresh copies of those.
"""

import contextlib
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backstay_lab import (
    apt,
    bmc,
    build,
    cloudfile,
    disk,
    down,
    host_identity,
    host_login,
    layers,
    machine,
    network,
    readiness,
    secrets,
    seed,
    state,
)
from backstay_lab.errors import LabError
from backstay_lab.hosts import LabHost, all_hosts
from backstay_lab.layout import BASTION, REGION, SLOTS, Login, layers_folder
from backstay_lab.parallel import ParallelHosts
from backstay_lab.plan import FIRST, Plan, choose, needed, to_discard
from backstay_lab.progress import Progress
from backstay_lab.state import Phase, State

SHUTDOWN_BOUND = 150


@dataclass(frozen=True, slots=True)
class LabRequest:
    """What the operator asked for. ``only``: names of hosts, or empty for all."""

    name: str
    computes: int | None = None
    only: tuple[str, ...] = ()
    slot: int | None = None
    login: str | None = None


def up(request: LabRequest, progress: Progress) -> State:
    """Bring a lab up; safe to repeat after an interruption at any point. Raises LabError."""
    require(request)
    with state.locked(request.name):
        return BringUp(_opened(request), request.only, progress).run()


def require(request: LabRequest) -> None:
    """Raise LabError where the machine lacks something for the lab that was asked for."""
    bare = bool(request.only) and all(name.startswith("spare") for name in request.only)
    known = state.load(request.name)
    has_built = known is not None and (known.lab.built / "key").exists()
    running = known is not None and known.phase is not Phase.DOWN
    facts = machine.read()
    machine.require(machine.missing(facts, built=has_built, bare=bare or running))


def _opened(request: LabRequest) -> State:
    """Return the state to start from; a lab that is down may change its number of hosts."""
    known = state.load(request.name)
    if known is None:
        taken = {other.slot for other in state.all_labs()}
        if request.slot is not None:
            taken = set(SLOTS) - {request.slot}
        known = state.new(request.name, request.computes or 2, taken)
    elif request.computes and request.computes != known.computes:
        if known.phase is not Phase.DOWN:
            raise LabError(
                f"bringing up lab {request.name} with {request.computes} compute hosts",
                came_back=f"it is up with {known.computes}",
                remedy="backstay lab down, then repeat the command",
            )
        known = replace(known, computes=request.computes)
    if request.login and request.login != known.login:
        if known.phase is not Phase.DOWN:
            raise LabError(
                f"bringing up lab {request.name} with the login {request.login}",
                came_back=f"it is up with the login {known.login}",
                remedy="backstay lab down, then repeat the command",
            )
        known = replace(known, login=Login(request.login))
    unknown = [name for name in request.only if name not in known.lab.places]
    if unknown:
        LabHost(known.lab, unknown[0])  # raises the error that names the hosts
    return known


class BringUp:
    """One ``lab up`` in progress."""

    def __init__(self, known: State, only: Sequence[str], progress: Progress) -> None:
        self.state = known
        self.lab = known.lab
        self.only = tuple(only)
        if only and self.lab.login is Login.OPERATOR:  # nobody comes to a host without it
            self.only = tuple(dict.fromkeys((*only, BASTION)))
        self.progress = progress
        self.parallel = ParallelHosts()

    def run(self) -> State:
        """Bring the lab up; return its state. Raises LabError."""
        recipe = layers.Recipe(apt.read(machine.codename()), apt.architecture())
        key = build.content_key(self.lab, recipe)
        chosen = choose(self.lab, self.only, built=self._is_built(recipe, key))
        self._clear_leftovers(chosen)
        network.refuse_if_taken(self.lab, self.state.claims)
        self._save(replace(self.state, claims=network.claims(self.lab)))
        if (base := recipe.base_folder) and not base.exists():
            self.progress.phase("base", "packages")
        layers.ensure_base(recipe, self.lab)
        host_identity.make_keys(self.lab)
        network.create(self.lab)
        if chosen in (Plan.BUILD, Plan.BUILD_SOME):
            self._build(recipe, key, whole=chosen is Plan.BUILD)
        if chosen is not Plan.BUILD_SOME:
            self._start(recipe, key)
        self._announce()
        return self.state

    def _is_built(self, recipe: layers.Recipe, key: str) -> bool:
        """Return whether the built disks are good for the hosts to bring up.

        A lab that is up keeps its content, even where a newer Backstay would build another one:
        single hosts built anew would have other passwords than the rest.
        """
        built_key = self._built_key()
        if self.only and self.state.phase is Phase.UP and built_key:
            lowers = [recipe.lowers(host.place.manifest) for host in self._hosts()]
            return all(layer.exists() for host_lowers in lowers for layer in host_lowers)
        return built_key == key

    def _built_key(self) -> str:
        with contextlib.suppress(OSError):
            return (self.lab.built / "key").read_text()
        return ""

    def _hosts(self) -> list[LabHost]:
        return all_hosts(self.lab, self.only or None)

    def _save(self, new: State) -> None:
        self.state = new
        state.save(new)

    def _clear_leftovers(self, chosen: Plan) -> None:
        """Discard what cannot be used further; a lab that is down has nothing left to keep."""
        if self.state.phase is Phase.DOWN:
            down.end_processes(self.lab)
            down.unmount(self.lab.folder)
            down.remove_groups(self.lab)
            return
        down.end_builders(self.lab)
        with_disk = [h.name for h in all_hosts(self.lab) if h.folder.exists()]
        down.discard_hosts(self.lab, to_discard(self.state, chosen, with_disk))

    # --- building -----------------------------------------------------------------------------

    def _build(self, recipe: layers.Recipe, key: str, *, whole: bool) -> None:
        self._save(replace(self.state, phase=Phase.BUILDING, built_key=""))
        shutil.rmtree(self.lab.built, ignore_errors=True)
        values = secrets.renew(self.lab.secrets_file)
        hosts = [host for host in self._hosts() if host.place.manifest]
        hosts.sort(key=lambda host: FIRST.index(host.name) if host.name in FIRST else len(FIRST))
        cloudfile.write(self.lab, values)
        self._build_hosts(recipe, hosts)
        if whole:
            self._seed()
            self._freeze(hosts, key)
        else:
            self._save(replace(self.state, phase=Phase.STARTING))

    def _build_hosts(self, recipe: layers.Recipe, hosts: Sequence[LabHost]) -> None:
        """Build hosts side by side, each after those that it needs."""
        finished = {host.name: threading.Event() for host in hosts}
        puppets = threading.Semaphore(2)
        second_core = threading.Lock()  # the controller's packages have the first for themselves

        def one(host: LabHost) -> None:
            with contextlib.nullcontext() if host.name == "controller" else second_core:
                self.parallel.check()
                self.progress.phase(host.name, "packages")
                layers.ensure_role(recipe, self.lab, str(host.place.manifest))
            self._new_disk(recipe, host, None)
            self.progress.phase(host.name, "waiting")
            for name in needed(host.name):
                if name in finished:
                    self.parallel.wait_for(finished[name])
            with puppets:
                self.parallel.check()
                self.progress.phase(host.name, "boot")
                host.power_on(target=build.BUILD_TARGET)
                readiness.await_ssh(host)
                host_login.apply(host)
                self.progress.phase(host.name, "puppet")
                build.apply_puppet(host)
            self.progress.phase(host.name, "built")
            finished[host.name].set()

        self.parallel.each(hosts, one)

    def _seed(self) -> None:
        seed.seed(self._cloud(), lambda step: self.progress.phase("cloud", step))

    def _cloud(self) -> seed.SeededCloud:
        controller = self.lab.places["controller"]
        names = (name for name, place in self.lab.places.items() if place.manifest == "compute")
        return seed.SeededCloud(
            folder=self.lab.folder,
            cache=layers_folder(),
            auth_url=f"http://{self.lab.address(controller)}:5000/v3",
            region=REGION,
            provider_net=self.lab.provider_net,
            computes=tuple(names),
            passwords=secrets.load(self.lab.secrets_file),
        )

    def _freeze(self, hosts: Sequence[LabHost], key: str) -> None:
        """Shut the built hosts down and save their disks; the key makes them valid."""
        self.progress.phase("cloud", "shutdown")

        def one(host: LabHost) -> None:
            self.progress.phase(host.name, "shutdown")
            host.power_off(hard=False, bound=SHUTDOWN_BOUND)
            down.unmount(host.folder)

        # compute hosts first, while the controller still receives their sign-off
        computes = [host for host in hosts if host.place.manifest == "compute"]
        self.parallel.each(computes, one)
        self.parallel.each([host for host in hosts if host not in computes], one)
        self.lab.built.mkdir(parents=True, exist_ok=True)
        for host in hosts:
            host.disk_image.rename(self.built_image(host))
            shutil.rmtree(host.folder)
        (self.lab.built / "key").write_text(key)
        self._save(replace(self.state, phase=Phase.STARTING, built_key=key))
        self.progress.phase("cloud", "saved")

    def built_image(self, host: LabHost) -> Path:
        """Return the saved disk of a built host."""
        return self.lab.built / f"{host.name}.img"

    # --- starting -----------------------------------------------------------------------------

    def _start(self, recipe: layers.Recipe, key: str) -> None:
        hosts = self._hosts()
        if self.state.phase is not Phase.UP:
            self._save(replace(self.state, phase=Phase.STARTING, built_key=key))

        started = {host.name: threading.Event() for host in hosts}

        def one(host: LabHost) -> None:
            if host.dead_board.exists():
                self.progress.phase(host.name, "dead board")
                started[host.name].set()
                return
            if not host.disk_image.exists():
                self.progress.phase(host.name, "disk")
                built = self.built_image(host) if host.place.manifest else None
                self._new_disk(recipe, host, built)
            # Agents ask the controller's services first; a request before these listen is lost,
            # and repeated after a minute: instances would have no address for that long.
            if host.place.manifest == "compute" and "controller" in started:
                self.progress.phase(host.name, "waiting")
                self.parallel.wait_for(started["controller"])
            self.progress.phase(host.name, "boot")
            host.power_on()
            readiness.await_ssh(host)
            host_login.apply(host)
            self.progress.phase(host.name, "services")
            readiness.await_units(host)
            self.progress.phase(host.name, "ready")
            started[host.name].set()

        self.parallel.each(hosts, one)
        if any(host.name == "controller" for host in hosts) and not self.only:
            self.progress.phase("cloud", "waiting for the APIs")
            seed.healthy(self._cloud(), lambda what: self.progress.phase("cloud", what))
            self.progress.phase("cloud", "ready")

    def _new_disk(self, recipe: layers.Recipe, host: LabHost, built: Path | None) -> None:
        disk.create(host.folder, recipe.lowers(host.place.manifest), built)
        disk.mount(host.folder)
        host_identity.write(host)

    def _announce(self) -> None:
        """Write cloud.yaml and openrc, by which commands find this lab, and start the BMCs."""
        file = self.lab.secrets_file
        values = secrets.load(file) if file.exists() else secrets.renew(file)
        cloudfile.write(self.lab, values)
        bmc.start(self.lab)
        names = tuple(h.name for h in all_hosts(self.lab) if h.disk_image.exists())
        self._save(replace(self.state, phase=Phase.UP, hosts=names))
