"""What runs on the host while its database is read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SENDING = "import sys; from backstay.backup.mariadb import onhost_database as onhost; "


def test_what_nobody_takes_any_more_is_ended_and_holds_no_lock(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    command = f"['sh', '-c', 'echo $$ > {file}; exec yes']"
    text = f"{SENDING}onhost.TAKEN_WITHIN = 0.5; onhost.handed_on({command}, onhost.send_plain)"
    told = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert told.wait(timeout=30) != 0  # its output is open, and never read
    assert told.stderr is not None
    assert b"it accepted nothing for 0.5 s" in told.stderr.read()
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)


def test_all_of_a_program_s_output_is_handed_on() -> None:
    command = "['sh', '-c', 'seq 300000; echo said >&2; exit 3']"
    text = f"{SENDING}sys.stderr.write(repr(onhost.handed_on({command}, onhost.send_plain)[:2]))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, timeout=60)
    assert done.stdout == b"".join(b"%d\n" % number for number in range(1, 300001))
    assert done.stderr == b"(3, ['said'])"
