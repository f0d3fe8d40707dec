"""The keys that an issuer signs with: fetched in a thread of their own, kept while it is away."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jwt

WAIT = 5.0
"""Seconds that a request waits for the issuer."""

AGAIN = 10.0
"""Seconds between two fetches at least, whatever ids of keys are asked for, and however the first
one ended."""

FRESH, KEPT = 300.0, 6 * 3600.0
"""Seconds that keys are used without a look; and that they are while the issuer does not answer."""

log = logging.getLogger("fraud.api")


class IssuerKeys:
    """Asked in one event loop at a time; nobody waits for a fetch that another began in vain."""

    def __init__(self, url: str) -> None:
        import jwt

        self.url = url
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=WAIT)
        self._thread = ThreadPoolExecutor(1, "issuer")
        self._known: dict[str, jwt.PyJWK] = {}
        self._known_at = self._begun_at = -math.inf
        self._fetching: Future[bool] | None = None

    async def key(self, name: str) -> jwt.PyJWK | None:
        """The key of that id, None when the issuer has none. Raises ConnectionError while it cannot
        be asked."""
        known = self._known.get(name)
        age = time.monotonic() - self._known_at
        if known is not None and age < FRESH:
            return known
        fetching = self._begun()
        if known is not None and age < KEPT:
            return known
        done, _ = await asyncio.wait([asyncio.wrap_future(fetching)], timeout=WAIT)
        if not done or not fetching.result():
            raise ConnectionError(f"{self.url} does not give its keys")
        return self._known.get(name)

    def fetched(self) -> dict[str, jwt.PyJWK]:
        """As published now. Raises jwt.PyJWTError when there are none to be had; a page that is no
        JSON, such as one for people, is no answer either."""
        import jwt

        try:
            return {str(key.key_id): key for key in self._client.get_signing_keys()}
        except ValueError as error:
            raise jwt.PyJWKClientConnectionError(f"{self.url} is not JSON: {error}") from None

    def _begun(self) -> Future[bool]:
        """The fetch in progress, or the last one, if that is not long ago; else a new one."""
        now, last = time.monotonic(), self._fetching
        if last is None or (last.done() and now - self._begun_at >= AGAIN):
            self._begun_at = now
            self._fetching = last = self._thread.submit(self._fetch)
        return last

    def _fetch(self) -> bool:
        import jwt

        try:
            self._known, self._known_at = self.fetched(), time.monotonic()
        except (jwt.PyJWTError, OSError) as error:
            log.warning("the issuer's keys cannot be fetched: %s", error)
            return False
        return True
