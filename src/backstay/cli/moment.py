"""The moment that an operator names with ``--to``."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from backstay.backup.choice import Moment


def moment_named(text: str) -> "Moment":
    """Return the moment: `latest`, `backup` or a time, which is local without a zone.

    Raises click.BadParameter.
    """
    from backstay.backup.choice import Moment  # noqa: PLC0415 - heavy

    try:
        return Moment.from_document("" if text == "backup" else text)
    except ValueError:
        raise click.BadParameter(
            f"`{text}` is neither `latest`, `backup`, nor a time such as '2026-11-24 02:00'",
            param_hint="--to",
        ) from None
