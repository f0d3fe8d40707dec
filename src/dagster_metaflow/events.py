"""From asset reports to Dagster's events."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetKey,
    AssetMaterialization,
    MetadataValue,
)

from dagster_metaflow.metadata import typed_metadata
from dagster_metaflow.reports import PARTITION, AssetReport

DATA_VERSION_TAG = "dagster/data_version"
DATA_VERSION_IS_GIVEN_TAG = "dagster/data_version_is_user_provided"
LAUNCH_TAG = "dagster_metaflow/launch_id"


@dataclass(frozen=True)
class Made:
    """One materialization of a report; partition: None for an asset without partitions."""

    partition: str | None
    data_version: str
    metadata: Mapping[str, MetadataValue]


@dataclass(frozen=True)
class CheckOutcome:
    name: str
    passed: bool
    severity: AssetCheckSeverity
    metadata: Mapping[str, MetadataValue]


@dataclass(frozen=True)
class Published:
    """What one report says, in Dagster's types. run: pathspec of the task that wrote it."""

    asset_key: AssetKey
    run: str
    launch_id: str
    flow: str
    timestamp: float
    made: tuple[Made, ...]
    checks: tuple[CheckOutcome, ...]

    @classmethod
    def of(cls, report: AssetReport) -> Published:
        made, checks = [], []
        for message in report.messages:
            params = message["params"]
            if message["method"] == "report_asset_materialization":
                made.append(_made(params))
            elif message["method"] == "report_asset_check":
                checks.append(_check(params))
        return cls(
            asset_key=AssetKey(list(report.asset_key)),
            run=report.run,
            launch_id=report.launch_id,
            flow=report.flow,
            timestamp=report.written.timestamp(),
            made=tuple(made),
            checks=tuple(checks),
        )

    @property
    def data_version(self) -> str:
        """Of all that was made: its own where it is one thing, else a hash of every part's."""
        if len(self.made) == 1:
            return self.made[0].data_version
        parts = sorted(f"{made.partition}={made.data_version}" for made in self.made)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def metadata(self) -> dict[str, MetadataValue]:
        """What goes with every materialization: where it comes from."""
        return {
            "metaflow_run": MetadataValue.text(self.run),
            "launch_id": MetadataValue.text(self.launch_id),
        }

    def materializations(self) -> Iterator[AssetMaterialization]:
        """As events of their own, for whatever no running step is answerable for."""
        for made in self.made:
            yield AssetMaterialization(
                asset_key=self.asset_key,
                partition=made.partition,
                metadata={**self.metadata(), **made.metadata},
                tags={
                    DATA_VERSION_TAG: made.data_version,
                    DATA_VERSION_IS_GIVEN_TAG: "true",
                    LAUNCH_TAG: self.launch_id,
                },
            )

    def check_results(self) -> Iterator[AssetCheckResult]:
        for check in self.checks:
            yield AssetCheckResult(
                asset_key=self.asset_key,
                check_name=check.name,
                passed=check.passed,
                severity=check.severity,
                metadata=check.metadata,
            )

    def check_evaluations(self) -> Iterator[AssetCheckEvaluation]:
        for check in self.checks:
            yield AssetCheckEvaluation(
                asset_key=self.asset_key,
                check_name=check.name,
                passed=check.passed,
                severity=check.severity,
                metadata=check.metadata,
            )


def total_rows(made: Sequence[Made]) -> int | None:
    """Rows of all partitions; None where a report does not say."""
    counts = [
        m.metadata["dagster/row_count"].value for m in made if "dagster/row_count" in m.metadata
    ]
    return sum(int(str(count)) for count in counts) if counts else None


def _made(params: Mapping[str, Any]) -> Made:
    metadata = dict(params["metadata"])
    partition = metadata.pop(PARTITION, None)
    return Made(
        partition=None if partition is None else str(partition["raw_value"]),
        data_version=params["data_version"],
        metadata=typed_metadata(metadata),
    )


def _check(params: Mapping[str, Any]) -> CheckOutcome:
    return CheckOutcome(
        name=params["check_name"],
        passed=params["passed"],
        severity=AssetCheckSeverity(params["severity"]),
        metadata=typed_metadata(params["metadata"]),
    )
