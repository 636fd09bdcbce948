"""Every command that uses a BMC's password by http says so, not only the check."""

from pathlib import Path

import pytest

from backstay.cli.session import open_cloud


def written(folder: Path, url: str, more: str = "") -> Path:
    file = folder / "cloud.yaml"
    bmc = f"{{url: '{url}', username: admin, password: hunter2{more}}}"
    file.write_text(
        "credentials: {environment: true}\n"
        f"hosts:\n  c1: {{address: 10.0.0.11, roles: [controller], bmc: {bmc}}}\n"
        "fenced:\n  c0: {was: c1, since: '2026-01-01T00:00:00Z', bmc: "
        f"{bmc.replace('10.0.0.1', '10.0.0.2')}}}\n"
    )
    file.chmod(0o600)
    return file


def test_a_warning_where_the_cloud_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "http://10.0.0.1")
    open_cloud(file)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("backstay: warning: the password of the BMC of c1, c0 goes")
    assert err.count("\n") == 1
    assert "hunter2" not in err
    open_cloud(file, quiet=True)
    open_cloud(file, warns=True)
    open_cloud(written(tmp_path, "http://10.0.0.1", ", clear: true"))
    open_cloud(written(tmp_path, "https://10.0.0.1"))
    assert capsys.readouterr() == ("", "")
