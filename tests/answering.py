"""How a host that a test stands for gives its answers: read as CloudSession.ask reads them."""

import json
from typing import Any

from backstay.access.shipping import as_answer, as_json
from backstay.transports.targets import Answer


def as_asked(answer: Any, returns: Any, host: str = "host") -> Any:
    """Return an answer as ``returns``, or as JSON of any form. Raises RemoteFailure.

    Bytes are what the host printed.
    """
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else json.dumps(answer)
    printed = Answer(stdout=text, sent_at=0.0, received_at=0.0)
    if returns is None:
        return as_json(printed, host=host)
    return as_answer(returns, printed, host=host)
