"""A landing sensor that fails tick after tick: people are told, and told when it is over.

Dagster shows such a tick as skipped, with its reason, and nobody hears of it. A mark at the end of
the sensor's cursor says that the last tick failed, or that people heard of it; a single one, as of
a store that was slow once, is nobody's business. No record is written: the lakehouse may be what
does not answer, and the tick's minute is nearly over.
"""

from __future__ import annotations

import logging
from typing import Literal

from fraud_assets.alerts import tell
from fraud_assets.dataset import LANDING, Dataset
from fraud_assets.sensors.failures import code_changed, page
from fraud_mlops.errors import NotThereError
from fraud_mlops.notifications import Notification

_ONCE, _TOLD = "?", "!"
_NOTHING_YET = "@"
"""A cursor without a record, for Dagster keeps the old one in the place of an empty one."""


def unmarked(cursor: str | None) -> str | None:
    """What the sensor itself has noted; None where it has nothing yet."""
    return _without_mark(cursor).removeprefix(_NOTHING_YET) or None


def failed(
    dataset: Dataset, cursor: str | None, error: Exception, log: logging.Logger
) -> str | None:
    """The cursor after it. A landing zone that was never there is no problem yet."""
    if not cursor and isinstance(error, NotThereError):
        return None
    known = _without_mark(cursor)
    again = cursor is not None and cursor != known
    told = again and tell(_message(dataset, "warning", str(error)), log)
    return known + (_TOLD if told else _ONCE)


def went_well(dataset: Dataset, cursor: str | None, after: str | None, log: logging.Logger) -> str:
    """The cursor from now on. after: without the mark, which stays until the end was told.

    One that somebody has reset does not say whether a tick had failed before.
    """
    marked = (cursor or "").endswith(_TOLD)
    told = tell(_message(dataset, "recovered"), log) if marked or not cursor else True
    return (after or _NOTHING_YET) + (_TOLD if marked and not told else "")


def _without_mark(cursor: str | None) -> str:
    return (cursor or "").rstrip(_ONCE + _TOLD)


def _message(
    dataset: Dataset, status: Literal["warning", "recovered"], reason: str | None = None
) -> Notification:
    return Notification(
        key=f"landing-failed/{dataset.name}",
        status=status,
        what=dataset.key(LANDING).to_user_string(),
        reason=reason,
        changed_by=code_changed() if reason else None,
        link=page(f"assets/{dataset.key(LANDING).to_user_string()}"),
    )
