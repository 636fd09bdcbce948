"""The reports of a run, each runbook's its own: as values, for a terminal, as a page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.cli.output.reboot import reboot_page, reboot_text
from backstay.cli.output.replace import replace_page, replace_text
from backstay.cli.output.timeline import html_page
from backstay.journal.records import RunRecord
from backstay.journal.store import Store
from backstay.runbooks.reboot import plan as reboot
from backstay.runbooks.reboot import report as reboot_report
from backstay.runbooks.replace import plan as replace
from backstay.runbooks.replace import report as replace_report

_PAST = 100
_TEXTS: Mapping[str, Callable[..., str]] = {
    reboot.RUNBOOK: reboot_text,
    replace.RUNBOOK: replace_text,
}
_PAGES: Mapping[str, Callable[..., str]] = {
    reboot.RUNBOOK: reboot_page,
    replace.RUNBOOK: replace_page,
}


@dataclass(frozen=True, slots=True)
class Reports:
    """The reports of one run; none where its runbook has none."""

    run: RunRecord
    found: Sequence[Any]

    def documents(self) -> list[Mapping[str, Any]]:
        """Return them as JSON data."""
        return [report.document() for report in self.found]

    def text(self, width: int) -> str:
        """Return them for a terminal of this width."""
        text = _TEXTS.get(self.run.plan.runbook)
        return text(self.found, width=width) if text else ""

    def page(self) -> str:
        """Return them as one HTML page; a run without a report has a page, too."""
        page = _PAGES.get(self.run.plan.runbook)
        return page(self.run, self.found) if page else html_page(self.run, ())


def reports_of(store: Store, run: RunRecord) -> Reports:
    """Return the reports of a run, where its runbook has any. Raises JournalError."""
    found: Sequence[Any] = ()
    if run.plan.runbook == reboot.RUNBOOK:
        found = reboot_report.reports(
            run, store.readable_runs(cloud=run.plan.cloud, limit=_PAST)[0]
        )
    elif run.plan.runbook == replace.RUNBOOK:
        found = replace_report.reports(run)
    return Reports(run, found)
