"""All deep checks at once."""

import asyncio
from collections.abc import Collection

from backstay.finding import Finding
from backstay.services.cinder import smoke_test as volume
from backstay.services.declaration import Api
from backstay.services.glance import smoke_test as image
from backstay.services.nova import smoke_test as instance
from backstay.services.smoke_test import carry_out
from backstay.services.swift import smoke_test as object  # noqa: A004 - a kind of thing

TRIALS = (image.SMOKE_TEST, instance.SMOKE_TEST, volume.SMOKE_TEST, object.SMOKE_TEST)


async def run(api: Api, services: Collection[str]) -> list[Finding]:
    """Make, use and delete one thing of every kind that ``services`` (names) give.

    Cancelled, it deletes what it has made before it ends.
    """
    wanted = [trial for trial in TRIALS if trial.service in services]
    return list(await asyncio.gather(*(carry_out(trial, api) for trial in wanted)))
