"""The reports of a run, each runbook's its own: as values, for a terminal, as a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from backstay.cli.output import page as frame
from backstay.cli.output import reboot_page, reboot_text, replace_page, replace_text
from backstay.journal.records import RunRecord
from backstay.journal.store import Store
from backstay.runbooks.reboot import plan as reboot
from backstay.runbooks.reboot import report as reboot_report
from backstay.runbooks.replace import plan as replace
from backstay.runbooks.replace import report as replace_report

_PAST = 100


class _Printer(Protocol):
    def __call__(self, reports: Sequence[Any], *, width: int) -> str:
        """Return reports as text."""


class _Painter(Protocol):
    def __call__(self, run: RunRecord, reports: Sequence[Any]) -> str:
        """Return a page."""


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
        printers: Mapping[str, _Printer] = {
            reboot.RUNBOOK: reboot_text.report_text,
            replace.RUNBOOK: replace_text.report_text,
        }
        printer = printers.get(self.run.plan.runbook)
        return printer(self.found, width=width) if printer else ""

    def page(self) -> str:
        """Return them as one HTML page; a run without a report has a page, too."""
        painters: Mapping[str, _Painter] = {
            reboot.RUNBOOK: reboot_page.page,
            replace.RUNBOOK: replace_page.page,
        }
        painter = painters.get(self.run.plan.runbook)
        return painter(self.run, self.found) if painter else frame.page(self.run, ())


def reports_of(store: Store, run: RunRecord) -> Reports:
    """Return what a run took and cost, where its runbook has a report. Raises JournalError."""
    found: Sequence[Any] = ()
    if run.plan.runbook == reboot.RUNBOOK:
        found = reboot_report.reports(run, store.runs(cloud=run.plan.cloud, limit=_PAST))
    elif run.plan.runbook == replace.RUNBOOK:
        found = replace_report.reports(run)
    return Reports(run, found)
