"""Checks that look at the stores, whatever the flows said: they also run on their own."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from fraud_assets.checks.bundle import bundle_is_whole, champion_is_recent
from fraud_assets.checks.claims import newest_partitions_present, no_claim_twice, rows_agree
from fraud_assets.checks.landing import files_keep_landing
from fraud_assets.checks.served import served_as_expected
from fraud_assets.checks.warehouse import parity
from fraud_assets.dataset import Dataset


def store_checks(dataset: Dataset) -> Sequence[dg.AssetChecksDefinition]:
    """All of one dataset."""
    return [
        *files_keep_landing(dataset),
        rows_agree(dataset),
        *no_claim_twice(dataset),
        bundle_is_whole(dataset),
        *champion_is_recent(dataset),
        *newest_partitions_present(dataset),
        parity(dataset),
        served_as_expected(dataset),
    ]


def check_keys(dataset: Dataset) -> set[dg.AssetCheckKey]:
    """What they are called."""
    return {key for check in store_checks(dataset) for key in check.check_keys}


def quiet_check_keys(dataset: Dataset) -> set[dg.AssetCheckKey]:
    """Those that fail no run, by which people would hear of it; parity blocks, but warns too."""
    return (check_keys(dataset) - blocking_check_keys(dataset)) | set(parity(dataset).check_keys)


def blocking_check_keys(dataset: Dataset) -> set[dg.AssetCheckKey]:
    """Those that assets downstream wait for."""
    specs = (spec for check in store_checks(dataset) for spec in check.check_specs)
    return {spec.key for spec in specs if spec.blocking}
