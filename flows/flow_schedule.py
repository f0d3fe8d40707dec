"""When a deployed flow starts by itself."""

from __future__ import annotations

import sys
from typing import TypeVar

from metaflow import schedule  # noqa: TID253 - this file is part of the flows

from fraud_mlops.errors import SettingsError
from fraud_mlops.settings import settings

Flow = TypeVar("Flow", bound=type)


def scheduled(flow: Flow) -> Flow:
    """Metaflow's @schedule, where FRAUD_SCORING_CRON names a time.

    It counts for `step-functions create` alone: a run on this machine is what it was.
    """
    try:
        cron = settings().scoring_cron
    except SettingsError as error:
        sys.exit(f"Error: {error}")
    return schedule(cron=cron)(flow) if cron else flow
