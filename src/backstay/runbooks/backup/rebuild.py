"""A backup's databases in a scratch server, as verification and restore need them."""

from backstay.backup.catalogue import Backup
from backstay.backup.mariadb.scratch import Scratch
from backstay.inventory.backup import Engine
from backstay.runbooks.backup.take import DUMP, STREAM
from backstay.transports.restic import Restic


async def rebuild(
    restic: Restic, scratch: Scratch, backup: Backup, *, bound: float, silence: float
) -> None:
    """Fill the scratch server from the backup and start it. Raises BackupError.

    ``silence`` is for how many seconds the repository may send nothing.
    """
    dumped = backup.engine is Engine.DUMP
    async with scratch.loading() if dumped else scratch.filling() as writer:

        async def receive(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        name = f"/{DUMP if dumped else STREAM}"
        await restic.dump(backup.snapshots["database"], name, receive, silence=silence)
    if not dumped:
        await scratch.prepare(bound=bound)
    await scratch.serve()
