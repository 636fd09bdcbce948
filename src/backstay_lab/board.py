"""``lab new-board``: a host with a dead board gets a new one and its disk as first built."""

from backstay_lab import state
from backstay_lab.errors import LabError
from backstay_lab.faults import records
from backstay_lab.hosts import LabHost
from backstay_lab.progress import Progress
from backstay_lab.up import LabRequest, up


def new_board(name: str, host: str, progress: Progress) -> None:
    """Give a host with a dead board a new one, and the disk that it had when the lab was built.

    Everything stored since then is lost, as with real hardware. Raises LabError where its board is
    not dead.
    """
    lab = state.opened(name).lab
    target = LabHost(lab, host)
    if not target.dead_board.exists():
        raise LabError(
            f"putting a new board into {host}",
            came_back="its board is not dead",
            remedy=f"backstay lab break dead-board {host}, to kill it",
        )
    target.dead_board.unlink()
    for record in records.read(lab):
        if record.host == host:
            records.remove(lab, record)
    up(LabRequest(name=name, only=(host,)), progress)
