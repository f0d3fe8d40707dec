"""Who waits for a store is told that it is being tried again, and for how long at most.

By the logger `fraud.lakehouse`: a line on standard error where nobody has set up logging.
"""

from __future__ import annotations

import logging
import time
from urllib.parse import urlsplit

_log = logging.getLogger("fraud.lakehouse")
_SILENCE = 60.0
"""Seconds without another line about the same host: many requests may wait for it at once."""
_told: dict[str, float] = {}


def tell_waiting(url: str, tries: int, seconds: float) -> None:
    """url: that was asked for; of it only the host is told, since the rest may be signed. tries:
    that are left. seconds: that they take at most, with the pauses between them."""
    asked = urlsplit(url)
    place = f"{asked.scheme}://{asked.netloc.rpartition('@')[2]}"
    now = time.monotonic()
    if now - _told.get(place, -_SILENCE) < _SILENCE:
        return
    _told[place] = now
    _log.warning(
        "%s does not answer as it should: trying again, up to %d times within %.0f s "
        "(FRAUD_STORE_RETRIES, FRAUD_STORE_TIMEOUT)",
        place,
        tries,
        seconds,
    )
