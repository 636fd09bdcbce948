"""All smoke tests at once."""

import asyncio
from collections.abc import Collection

from backstay.finding import Finding
from backstay.services.declaration import Api
from backstay.services.registry import all_smoke_tests


async def run_smoke_tests(api: Api, services: Collection[str]) -> list[Finding]:
    """Make, use and delete one resource of every kind that ``services`` (names) give.

    Cancelled, it deletes what it has made before it ends.
    """
    from backstay.services.smoke_test import carry_out  # noqa: PLC0415 - only a deep check needs it

    wanted = [test for test in all_smoke_tests() if test.service in services]
    return list(await asyncio.gather(*(carry_out(test, api) for test in wanted)))
