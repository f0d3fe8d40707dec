"""Alerts: what a person has to know of. A record each on the lakehouse, a line, and a message.

`_alerts/<day>/<name>.json` keeps every alert there was. The message goes to FRAUD_NOTIFY_URLS,
where one problem is told once (`fraud_mlops.notifications`).
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import write_bytes
from fraud_mlops.notifications import Notification, notify

FOLDER = "_alerts"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


class Alert(BaseModel):
    """title: one line. facts: where to look, what to do; without secrets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    facts: dict[str, str]
    at: AwareDatetime


def raise_alert(
    lakehouse: Lakehouse,
    name: str,
    title: str,
    facts: dict[str, str],
    log: logging.Logger,
    *,
    message: Notification | None = None,
) -> None:
    """On record, and to people. message: theirs, where title and facts do not say it all."""
    try:
        record_alert(lakehouse, name, title, facts, log)
    finally:  # people hear of it, the more so where the store is what is wrong
        tell(message or Notification(key=name, status="warning", what=title, facts=facts), log)


def record_alert(
    lakehouse: Lakehouse, name: str, title: str, facts: dict[str, str], log: logging.Logger
) -> str:
    """Gives the record's address. name: of what happened; told again, it replaces the record."""
    alert = Alert(name=_UNSAFE.sub("-", name), title=title, facts=facts, at=datetime.now(UTC))
    told = "".join(f"\n  {key}: {value}" for key, value in facts.items())
    log.error(f"{title}{told}")
    uri = lakehouse.uri(FOLDER, f"{alert.at:%F}", f"{alert.name}.json")
    write_bytes(uri, alert.model_dump_json(indent=1).encode() + b"\n")
    return uri


def tell(message: Notification, log: logging.Logger) -> bool:
    """Sends it; why it was not sent stands in the log, but for the end of what never was.

    False: it may be told again later.
    """
    done = notify(message, log=log)
    if done.held_back and not done.of_nothing:
        log.info(f"No message was sent that {message.title}: {done.held_back}")
    return done.done
