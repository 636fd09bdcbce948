"""Where packages come from: the machine's own APT configuration, as APT itself reports it.

The project names no mirror. ``apt-get indextargets`` lists every index that APT would use, from
one-line and deb822 files alike, with the origin that the repository states of itself: only those
of the distribution itself are used, never third parties'.
"""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from backstay_lab import programs
from backstay_lab.errors import LabError

DISTRIBUTIONS = ("Debian", "Ubuntu")
# settings about how to reach repositories; not those that run programs or name credentials
SETTINGS = re.compile(
    r"^(Acquire::(?:(?:http|https|ftp)::(?:Proxy|Timeout|Pipeline-Depth|CaInfo)(?:::[\w.-]+)?"
    r'|Check-Valid-Until|Check-Date|Retries|ForceIPv[46])) "(.*)";$'
)


@dataclass(frozen=True, slots=True)
class Source:
    """One repository and suite. ``signed_by`` is a keyring's path, a key, or empty."""

    uri: str
    suite: str
    codename: str
    components: tuple[str, ...]
    signed_by: str

    def stanza(self) -> str:
        """Return the source in the format of sources.list(5), deb822 style."""
        lines = [
            "Types: deb",
            f"URIs: {self.uri}",
            f"Suites: {self.suite}",
            f"Components: {' '.join(self.components)}",
        ]
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


def parse_targets(text: str, read_entry: Callable[[Path], str] = Path.read_text) -> list[Source]:
    """Return the distribution's own sources from the output of ``apt-get indextargets``.

    ``read_entry`` gives the text of one of APT's files of sources, for the keyring named there.
    """
    merged: dict[tuple[str, str], Source] = {}
    for stanza in text.strip().split("\n\n"):
        fields = _fields(stanza)
        if fields.get("Created-By") != "Packages" or fields.get("Origin") not in DISTRIBUTIONS:
            continue
        key = fields["Repo-URI"], fields["Release"]
        known = merged.get(key)
        components = (*(known.components if known else ()), fields["Component"])
        merged[key] = Source(
            uri=fields["Repo-URI"],
            suite=fields["Release"],
            codename=fields.get("Codename", fields["Release"]),
            components=tuple(dict.fromkeys(components)),
            signed_by=signed_by(fields.get("Sourcesentry", ""), read_entry),
        )
    return list(merged.values())


def signed_by(sources_entry: str, read_entry: Callable[[Path], str]) -> str:
    """Return the keyring of an entry ``FILE:N``: stanza N of a ``.sources`` file, or line N.

    APT does not report it with its targets. Empty where the entry names none (APT then trusts
    its own keyrings) or has the key itself in it.
    """
    file, _, number = sources_entry.rpartition(":")
    if not file or not number.isdigit():
        return ""
    text = read_entry(Path(file))
    deb822 = file.endswith(".sources")
    entries = re.split(r"\n\s*\n", text.strip()) if deb822 else text.splitlines()
    if not 0 < int(number) <= len(entries):
        return ""
    pattern = r"(?im)^signed-by:\s*(/\S+)" if deb822 else r"\bsigned-by=(/[^\s\]]+)"
    match = re.search(pattern, entries[int(number) - 1])
    return match[1] if match else ""


def _fields(stanza: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line)


def parse_settings(dump: str) -> dict[str, str]:
    """Return the settings about reaching repositories from the output of ``apt-config dump``."""
    found = {}
    for line in dump.splitlines():
        match = SETTINGS.match(line)
        if match and match[2]:
            found[match[1]] = match[2]
    return found


def proxy_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return APT's general proxies as the variables that debootstrap's downloader reads."""
    names = {"Acquire::http::Proxy": "http_proxy", "Acquire::https::Proxy": "https_proxy"}
    return {
        variable: settings[key]
        for key, variable in names.items()
        if settings.get(key, "DIRECT") != "DIRECT"
    }


@dataclass(frozen=True, slots=True)
class AptConfiguration:
    """What the lab takes over from the machine."""

    sources: tuple[Source, ...]
    settings: Mapping[str, str]
    codename: str

    @property
    def main(self) -> Source:
        """The source that debootstrap takes: the first of the release itself."""
        return next(s for s in self.sources if s.suite in (self.codename, "stable", "oldstable"))

    def sources_file(self) -> str:
        """Return a sources file (deb822) with all sources."""
        return "\n".join(source.stanza() for source in self.sources)

    def settings_file(self) -> str:
        """Return an apt.conf with the machine's settings and those that keep a host small."""
        lines = [f'{key} "{value}";' for key, value in self.settings.items()]
        return "\n".join([*lines, 'Acquire::Languages "none";', ""])

    def keyrings(self) -> list[Path]:
        """Return the keyring files that the sources name."""
        names = {source.signed_by for source in self.sources if source.signed_by.startswith("/")}
        return [Path(name) for name in sorted(names)]


def read(codename: str) -> AptConfiguration:
    """Read the machine's configuration for its own release ``codename``.

    Raises LabError where APT has no source of the release.
    """
    text = _indextargets()
    if not _of_release(parse_targets(text), codename):
        # a machine that has never fetched its indexes does not know the origins
        programs.run(["apt-get", "update"], attempted="apt-get update on this machine", bound=300)
        text = _indextargets()
    sources = [
        _without_mirror_list(source)
        for source in parse_targets(text)
        if "main" in source.components
    ]
    if not _of_release(sources, codename):
        raise LabError(
            "finding where Debian packages come from",
            came_back=f"this machine's APT has no source of {codename} main",
            remedy="add the distribution's source to /etc/apt/sources.list, then apt-get update",
        )
    wanted = tuple(s for s in sources if s.codename.split("-")[0] == codename and _is_base(s))
    dump = programs.run(["apt-config", "dump"], attempted="reading APT's settings").stdout
    return AptConfiguration(wanted, parse_settings(dump), codename)


def _is_base(source: Source) -> bool:
    return not source.suite.endswith(("-backports", "-backports-sloppy", "-proposed"))


def _of_release(sources: list[Source], codename: str) -> list[Source]:
    return [source for source in sources if source.codename == codename]


def _indextargets() -> str:
    return programs.run(["apt-get", "indextargets"], attempted="reading APT's sources").stdout


def _without_mirror_list(source: Source) -> Source:
    """Replace a list of mirrors in a file (apt-transport-mirror(1)) by its first mirror."""
    match = re.match(r"mirror\+file:/*(/.*?)/?$", source.uri)
    if not match:
        return source
    for line in Path(match[1]).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            uri = line.split()[0]
            return Source(uri, source.suite, source.codename, source.components, source.signed_by)
    return source


def download_environment(configuration: AptConfiguration) -> dict[str, str]:
    """Return the environment for programs that install packages: quiet, with the proxies."""
    return {
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C.UTF-8",
        **proxy_environment(configuration.settings),
    }


def architecture() -> str:
    """Return the machine's Debian architecture."""
    done = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def machine_environment() -> dict[str, str]:
    """Return the proxy variables of the operator's own environment."""
    return {key: os.environ[key] for key in ("http_proxy", "https_proxy") if key in os.environ}
