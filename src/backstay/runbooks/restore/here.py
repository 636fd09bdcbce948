"""What a plan that restores a backup needs of this machine, asked before anything is started."""

from backstay.backup.mariadb.release import require_release
from backstay.backup.requirements import Task, require
from backstay.journal.plan import Plan
from backstay.runbooks.restore.plan import RestoreOptions, tasks_of


async def require_here(plan: Plan, chosen: RestoreOptions, attempted: str) -> None:
    """Raise BackupError where this machine lacks a program, or has one of another release."""
    tasks = tasks_of(plan, chosen)
    require(tasks, attempted)
    if Task.SERVE in tasks:
        await require_release(chosen.backup.facts["version"], attempted)
