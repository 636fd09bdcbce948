"""Python modules are compiled beside an installation, and nobody waits for it."""

import importlib.util
import os
import subprocess
import time
from pathlib import Path

import pytest

from backstay.access.shipping import stream
from backstay.provision import onhost_compile

pytestmark = pytest.mark.skipif(
    Path("/run/systemd/system").exists() or os.getuid() != 0,
    reason="would make units on this machine, or needs root",
)


def compiled(path: Path) -> bool:
    return Path(importlib.util.cache_from_source(str(path))).exists()


def test_what_is_noted_is_compiled_beside_and_the_folder_goes_with_the_installer(
    tmp_path, monkeypatch
):
    """The program runs by itself; only where it looks for packages is this test's own."""
    plain, test = tmp_path / "lib" / "a.py", tmp_path / "lib" / "tests" / "b.py"
    test.parent.mkdir(parents=True)
    for path in (plain, test, plain.with_name("broken.py")):
        path.write_text("x = 1\n" if path.name != "broken.py" else "x = = 1\n")
    (tmp_path / "info").mkdir()
    names = "\n".join(map(str, (plain.with_name("broken.py"), plain, test)))
    (tmp_path / "info" / "python3-a.list").write_text(names)
    program = (
        stream(onhost_compile.compile_noted)
        .replace("/var/lib/dpkg/info/", f"{tmp_path}/info/")
        .replace("/usr/lib/python3/", f"{tmp_path}/lib/")
        .replace("os.nice(5)", "pass")
    )
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    installer = subprocess.Popen(["sleep", "60"])
    monkeypatch.setattr(os, "getpid", lambda: installer.pid)
    folder = Path(onhost_compile.begin_compiling(program))
    noted = subprocess.run([folder / "py3compile", "-p", "python3-a"], check=False)
    assert noted.returncode == 0
    until = time.monotonic() + 20
    while not compiled(plain):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not compiled(test), "tests wait until the installer has ended"
    installer.kill()
    installer.wait()
    while folder.exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    assert compiled(test)
