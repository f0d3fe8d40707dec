"""When a deployed flow starts by itself."""

from __future__ import annotations

from typing import TypeVar

from metaflow import schedule  # noqa: TID253 - this file is part of the flows

from fraud_mlops.settings import settings

Flow = TypeVar("Flow", bound=type)


def scheduled(flow: Flow) -> Flow:
    """Metaflow's @schedule, where FRAUD_SCORING_CRON names a time.

    It counts for `step-functions create` alone: a run on this machine is what it was.
    """
    cron = settings().scoring_cron
    return schedule(cron=cron)(flow) if cron else flow
