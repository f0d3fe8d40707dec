"""Messages out of here, by apprise: Slack, Teams, e-mail, webhooks and a hundred others.

Nothing here raises: a chat room that is down must not fail what it would be told of.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.notifications.masking import MaskedLog, masker, parts_of_address
from fraud_mlops.notifications.message import Notification
from fraud_mlops.notifications.told import ToldFile
from fraud_mlops.settings import Settings, settings

_INSTALL = "pip install 'fraud-mlops[notify]'"
_ATTEMPTS, _PAUSE = 3, 1.0
_CONNECT = 5.0
_KINDS = {"succeeded": "success", "recovered": "success", "warning": "warning", "failed": "failure"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivered:
    """sent, failed: channels, without their secrets. held_back: why it was not sent at all.

    needless: it was held back since people know it, or since it is none of their business.
    of_nothing: it would have told the end of a problem of which nobody was told.
    """

    sent: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    held_back: str | None = None
    needless: bool = False
    of_nothing: bool = False

    @property
    def done(self) -> bool:
        """Otherwise it may be told again later."""
        return bool(self.sent) or self.needless


def notify(
    message: Notification, given: Settings | None = None, log: logging.Logger = _log
) -> Delivered:
    """Tells it to every address of FRAUD_NOTIFY_URLS, unless it was told already.

    It takes FRAUD_NOTIFY_TIMEOUT at most, and never raises; what went wrong is a warning in `log`.
    """
    mask = masker(os.environ)
    try:
        given = given or settings()
        addresses = _addresses(given)
        if not addresses:
            why = "no address is set in FRAUD_NOTIFY_URLS"
            return Delivered(held_back=why, of_nothing=message.if_any)
        mask = masker(os.environ, *(part for one in addresses for part in parts_of_address(one)))
        MaskedLog(mask).install("urllib3.connectionpool")  # it logs paths, where keys are
        return _notify(message.masked(mask), given, addresses, log, mask)
    except Exception as error:  # whatever it is, the caller has other things to do
        why = str(error) if isinstance(error, FraudMlopsError) else repr(error)
        log.warning("Nobody was told that %s: %s", mask(message.title), mask(why))
        return Delivered(failed=("all",))


def _notify(
    message: Notification,
    given: Settings,
    addresses: Sequence[str],
    log: logging.Logger,
    mask: Callable[[str], str],
) -> Delivered:
    told = ToldFile(given.notify_state or _state(), given.notify_repeat, given.notify_per_hour)
    decision = told.decide(message, datetime.now(UTC))
    if decision.send is None:
        of_nothing = decision.needless and message.if_any
        return Delivered(held_back=decision.why, needless=decision.needless, of_nothing=of_nothing)
    outcome = _send_all(decision.send, addresses, given.notify_timeout, log, mask)
    if not outcome.sent:
        told.was_not_told(message, decision)
    return outcome


def channel_names(given: Settings) -> list[str]:
    """Of each address of FRAUD_NOTIFY_URLS, without its secrets; nothing is sent.

    One that apprise does not know is named by its place, and said to be unknown.
    """
    channels = [_channel(one, _CONNECT, _CONNECT) for one in _addresses(given)]
    return [_name(channel, number) for number, channel in enumerate(channels, 1)]


def _addresses(given: Settings) -> list[str]:
    """Commas stand in addresses, so that white space divides them, or a comma before a scheme."""
    text = given.notify_urls.get_secret_value() if given.notify_urls else ""
    return re.split(r"\s*,\s*(?=[a-z]+://)|\s+", text.strip()) if text.strip() else []


def _state() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "fraud-mlops" / "notifications.json"


def _send_all(
    message: Notification,
    addresses: Sequence[str],
    seconds: float,
    log: logging.Logger,
    mask: Callable[[str], str],
) -> Delivered:
    """All at once; a thread that is still waiting when the time is over is left behind."""
    channels = [_channel(address, min(_CONNECT, seconds), seconds) for address in addresses]
    deadline = time.monotonic() + seconds
    names = [_name(channel, number) for number, channel in enumerate(channels, 1)]
    done: dict[int, bool] = {}

    def send(number: int, channel: Any) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                taken = channel.notify(
                    body=message.body or message.title,  # none at all is refused
                    title=message.title,
                    notify_type=_KINDS.get(message.status, "warning"),
                )
            except Exception as error:  # else it would end on stderr, with addresses in it
                log.warning("%s: %s", mask(names[number]), mask(repr(error)))
                return
            if taken:
                done[number] = True
                return
            pause = _PAUSE * 2**attempt
            if time.monotonic() + pause > deadline:
                return
            time.sleep(pause)

    threads = [
        threading.Thread(target=send, args=(number, channel), daemon=True)
        for number, channel in enumerate(channels)
        if channel is not None
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    sent = tuple(name for number, name in enumerate(names) if number in done)
    failed = tuple(name for number, name in enumerate(names) if number not in done)
    for name in failed:
        log.warning("%s did not take the message %r", mask(name), message.title)
    return Delivered(sent, failed)


def _channel(address: str, connect: float, read: float) -> Any:
    """None for an address that apprise does not know; what it says of that holds the address."""
    try:
        import apprise
    except ImportError:
        raise RuntimeError(f"apprise is not installed: {_INSTALL}") from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    channel = apprise.Apprise.instantiate(address, suppress_exceptions=True)
    if channel is not None:
        channel.socket_connect_timeout, channel.socket_read_timeout = connect, read
    return channel


def _name(channel: Any, number: int) -> str:
    if channel is None:
        return f"address {number} of FRAUD_NOTIFY_URLS, which is none that apprise knows,"
    service = str(channel.service_name)
    # Where Slack, Telegram and others have a key, apprise calls it the host all the same.
    named = any("{host}" in form for form in channel.templates)
    return f"{service} at {channel.host}" if named and channel.host else service
