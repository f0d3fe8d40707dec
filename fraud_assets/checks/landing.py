"""Whether files keep landing, for datasets whose claims keep coming."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

from datetime import UTC, datetime

import dagster as dg

from fraud_assets.assets.specs import claims_age_limit
from fraud_assets.checks.verdicts import warned
from fraud_assets.dataset import LANDING, Dataset
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.lakehouse.local_files import printable
from fraud_mlops.landing.listing import Landed, landed_files
from fraud_mlops.sources import FileSource


def files_keep_landing(dataset: Dataset) -> list[dg.AssetChecksDefinition]:
    """Freshness of what is observed: Dagster's policies know materializations only."""
    source = dataset.contract.source
    return [_newest(dataset, source)] if dataset.is_live and isinstance(source, FileSource) else []


def _newest(dataset: Dataset, source: FileSource) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dataset.key(LANDING),
        name="files_keep_landing",
        description="The newest file is not older than claims may be.",
    )
    def check() -> dg.AssetCheckResult:
        try:
            files = landed_files(source)
        except FraudMlopsError as error:
            return warned(str(error))
        return newest_file(dataset, source, files, datetime.now(UTC))

    return check


def newest_file(
    dataset: Dataset, source: FileSource, files: list[Landed], now: datetime
) -> dg.AssetCheckResult:
    """Warns when it is older than claims may be, or when there is none."""
    if not files:
        return warned(f"No file has landed under {source.uri}.")
    newest = max(files, key=lambda file: file.changed)
    name = printable(newest.path)
    age = now - datetime.fromtimestamp(newest.changed, UTC)
    days = round(age.total_seconds() / 86_400, 1)
    if age > claims_age_limit(dataset):
        told = f"The newest file is {age.days} days old, {name}; see who delivers them."
        return warned(told, age_days=days)
    return dg.AssetCheckResult(passed=True, metadata={"newest": name, "age_days": days})
