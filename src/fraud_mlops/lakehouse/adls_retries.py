"""How long, and how often, ADLS is waited for."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientConnectorError
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.storage.blob.aio import ExponentialRetry

from fraud_mlops.lakehouse.adls_errors import is_distrust
from fraud_mlops.lakehouse.waiting import tell_waiting
from fraud_mlops.settings import settings

_LONGEST_WAIT = 120.0
_MOMENT = 3.0
"""Seconds that one waits without wondering."""


class Patient(ExponentialRetry):
    """Waits about 1, 3, 5, 9, 17 s, or as long as the server asks for; from the second time on it
    says so."""

    def __init__(self) -> None:
        times = settings().store_retries
        self._timeout = settings().store_timeout
        super().__init__(
            initial_backoff=1, increment_base=2, random_jitter_range=1, retry_total=times,
            retry_connect=times, retry_read=times, retry_status=times,
        )  # fmt: skip

    def get_backoff_time(self, settings: dict[str, Any]) -> float:
        """Azure's own counts the first pause as the second."""
        return float(super().get_backoff_time({"count": settings["count"] - 1}))

    def increment(
        self, settings: dict[str, Any], request: Any, response: Any = None, error: Any = None
    ) -> bool:
        if isinstance(error, ClientAuthenticationError) or is_distrust(error):
            return False  # nobody signs in meanwhile, or trusts
        return bool(super().increment(settings, request, response, error))

    async def sleep(self, settings: dict[str, Any], transport: Any) -> None:
        last = settings["history"][-1] if settings["history"] else None
        response = last.http_response if last else None
        asked = response.headers.get("Retry-After", "") if response is not None else ""
        if asked.isdecimal():
            pause = min(float(asked), _LONGEST_WAIT)
        else:
            pause = self.get_backoff_time(settings)
        if last and (settings["count"] > 1 or pause > _MOMENT):
            tries = settings["total"] + 1
            more = (2 + 2.0 ** (settings["count"] + n) for n in range(tries - 1))
            each = 0.0 if response is not None or _at_once(last.error) else self._timeout
            tell_waiting(last.http_request.url, tries, pause + sum(more) + tries * each)
        await transport.sleep(pause)


def _at_once(error: AzureError | None) -> bool:
    """Whether nobody was there, which is known without waiting: no such host, or a closed port."""
    return isinstance(getattr(error, "inner_exception", None), ClientConnectorError)
