"""The step that compares the restored records with what really exists, and changes nothing."""

from dataclasses import asdict, dataclass

from backstay.access.session import CloudSession
from backstay.finding import bad
from backstay.journal.action import Action, Result, Running
from backstay.runbooks.reconcile.observe import mismatches, reaper_findings


@dataclass(frozen=True)
class Reconcile(Action[Result]):
    """Tells what differs; ``backstay reconcile`` shows it, with a proposal for each."""

    site: CloudSession

    async def do(self, running: Running) -> Result:
        """Look. What differs is no failure of the replacement."""
        looked = await mismatches(self.site)
        reapers = [f"{one.host}: {one.evidence}" for one in bad(await reaper_findings(self.site))]
        words = [f"{len(looked.mismatches)} differ: backstay reconcile"] * bool(looked.mismatches)
        words += [f"{len(looked.missing)} could not be asked"] * bool(looked.missing)
        return {
            "mismatches": [asdict(one) for one in looked.mismatches],
            "missing": [asdict(one) for one in looked.missing],
            "told": "; ".join([*words, *reapers]) or "records and reality agree",
        }
