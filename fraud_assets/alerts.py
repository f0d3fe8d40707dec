"""Alerts: what a person has to know of. One record each on the lakehouse, and a line in the log.

`_alerts/<day>/<name>.json`, written once under a name of its own, so that whatever brings alerts
to people can start anywhere and find all of them.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import write_bytes

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
    lakehouse: Lakehouse, name: str, title: str, facts: dict[str, str], log: logging.Logger
) -> str:
    """The one place that every alert goes through. Gives the record's address.

    name: of what happened; told again, it replaces the record.
    """
    alert = Alert(name=_UNSAFE.sub("-", name), title=title, facts=facts, at=datetime.now(UTC))
    told = "".join(f"\n  {key}: {value}" for key, value in facts.items())
    log.error(f"{title}{told}")
    uri = lakehouse.uri(FOLDER, f"{alert.at:%F}", f"{alert.name}.json")
    write_bytes(uri, alert.model_dump_json(indent=1).encode() + b"\n")
    return uri
