"""What all assets have in common: owners, tags, groups, how old they may be."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from fraud_assets.dataset import Dataset

OWNERS = ["team:fraud-ml"]
CLAIMS, MODELS, SCORES, SERVING = "claims", "models", "scores", "serving"

# A closed history changes only with the code. It is made anew at least once a year all the same,
# so that somebody knows it still can be.
_CLOSED = (timedelta(days=365), timedelta(days=300))
_PERIOD_DAYS = {"day": 1, "week": 7, "month": 31}
# Dagster rounds what it shows, to whole months from 25 days on: limits that it would call by one
# name are no two limits to a reader.
_MODEL = (timedelta(days=60), timedelta(days=40))


def asset_spec(
    dataset: Dataset,
    name: str,
    *,
    group: str,
    kinds: set[str],
    description: str,
    freshness: dg.FreshnessPolicy | None = None,
    deps: Iterable[dg.AssetDep | dg.AssetKey] = (),
    **given: Any,
) -> dg.AssetSpec:
    """A spec under `[dataset, name]`."""
    return dg.AssetSpec(
        dataset.key(name),
        deps=list(deps),
        group_name=group,
        kinds=kinds,
        description=description,
        owners=OWNERS,
        tags=tags(dataset),
        freshness_policy=freshness,
        **given,
    )


def observable(
    name: str, spec: dg.AssetSpec, observe: Callable[..., Iterator[dg.ObserveResult]]
) -> dg.AssetsDefinition:
    """An asset that is made elsewhere; `observe` says how it is now."""
    with warnings.catch_warnings():
        # Dagster calls it beta, and has nothing else that its Observe button calls.
        warnings.simplefilter("ignore", dg.BetaWarning)
        declare = dg.multi_observable_source_asset(name=name, specs=[spec])
    made: dg.AssetsDefinition = declare(observe)
    return made


def tags(dataset: Dataset) -> dict[str, str]:
    """By which people find the assets of a dataset among others."""
    return {"dataset": dataset.name, "domain": "fraud"}


def claims_freshness(dataset: Dataset) -> dg.FreshnessPolicy:
    """Of what should be written as claims come: once a period, and a grace of half a one.

    Any partition counts, so that a backfill of an old one makes an asset look fresh; the check
    `newest_partition_present` looks at the partitions themselves.
    """
    fail, warn = _claims_windows(dataset)
    return dg.FreshnessPolicy.time_window(fail_window=fail, warn_window=warn)


def claims_age_limit(dataset: Dataset) -> timedelta:
    """How old the newest claims may become."""
    return _claims_windows(dataset)[0]


def _claims_windows(dataset: Dataset) -> tuple[timedelta, timedelta]:
    period = timedelta(days=_PERIOD_DAYS[dataset.contract.partition])
    return (1.5 * period, 1.1 * period) if dataset.is_live else _CLOSED


def model_freshness(dataset: Dataset) -> dg.FreshnessPolicy:
    """Retraining is monthly; a model that was not challenged for longer is nobody's choice.

    A rollback counts as well; the check `champion_is_recent` looks at the champion itself.
    """
    fail, warn = _MODEL if dataset.is_live else _CLOSED
    return dg.FreshnessPolicy.time_window(fail_window=fail, warn_window=warn)


def model_age_limit(dataset: Dataset) -> timedelta:
    """How old a champion may become."""
    return (_MODEL if dataset.is_live else _CLOSED)[0]
