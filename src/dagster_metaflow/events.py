"""From asset reports to Dagster's events."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetKey,
    AssetMaterialization,
    MetadataValue,
    TextMetadataValue,
)

from dagster_metaflow.data_versions import version_tags
from dagster_metaflow.metadata import typed_metadata
from dagster_metaflow.reports import CHECK_NAME, PARTITION, AssetReport, ReportError, checked_text

LAUNCH_TAG = "dagster_metaflow/launch_id"
"""Tag of a materialization, by `launch_tag`; the whole of the launch id is in its metadata."""
_LONGEST_TAG = 63  # of a value, for Dagster
REASON = "reason"
PUBLISHED = "published"
"""Metadata entry: when the flow wrote its report, which with the launch names a publication."""


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

    @property
    def reason(self) -> str | None:
        """What Dagster shows beside the result: the metadata `reason`, where it is in words."""
        found = self.metadata.get(REASON)
        return found.value if isinstance(found, TextMetadataValue) else None


@dataclass(frozen=True)
class Published:
    """What one report says, in Dagster's types.

    run: pathspec of the task that wrote it. links: metadata of where to see more.
    """

    asset_key: AssetKey
    run: str
    launch_id: str
    flow: str
    timestamp: float
    made: tuple[Made, ...]
    checks: tuple[CheckOutcome, ...]
    links: Mapping[str, MetadataValue] = field(default_factory=dict)

    @classmethod
    def of(cls, report: AssetReport) -> Published:
        """Messages that this version does not know are passed over.

        Raises ReportError for a message that lacks what its method asks for.
        """
        return cls(
            asset_key=AssetKey(list(report.asset_key)),
            run=report.run,
            launch_id=report.launch_id,
            flow=report.flow,
            timestamp=report.written.timestamp(),
            made=tuple(_read(report, _MATERIALIZATION, _made)),
            checks=tuple(_read(report, _CHECK, _check)),
        )

    def metadata(self) -> dict[str, MetadataValue]:
        """What goes with every materialization: where it comes from."""
        return {
            "metaflow_run": MetadataValue.text(self.run),
            "launch_id": MetadataValue.text(self.launch_id),
            PUBLISHED: MetadataValue.timestamp(self.timestamp),
            **self.links,
        }

    def materializations(self) -> Iterator[AssetMaterialization]:
        """As events of their own, for whatever no running step is answerable for."""
        for made in self.made:
            yield self.materialization(made)

    def materialization(
        self,
        made: Made,
        *,
        metadata: Mapping[str, MetadataValue] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> AssetMaterialization:
        """One of them. metadata, tags: more that go with it."""
        return AssetMaterialization(
            asset_key=self.asset_key,
            partition=made.partition,
            metadata={**made.metadata, **self.metadata(), **(metadata or {})},
            tags={
                **(tags or {}),
                **version_tags(made.data_version),
                **launch_tag(self.launch_id),
            },
        )

    def check_results(self) -> Iterator[AssetCheckResult]:
        for check in self.checks:
            yield AssetCheckResult(
                asset_key=self.asset_key,
                check_name=check.name,
                passed=check.passed,
                severity=check.severity,
                description=check.reason,
                metadata=check.metadata,
            )

    def check_evaluations(self) -> Iterator[AssetCheckEvaluation]:
        """As events of their own, which say themselves where they come from."""
        for check in self.checks:
            yield AssetCheckEvaluation(
                asset_key=self.asset_key,
                check_name=check.name,
                passed=check.passed,
                severity=check.severity,
                description=check.reason,
                metadata={**check.metadata, **self.metadata()},
            )


def launch_tag(launch_id: str) -> dict[str, str]:
    """The end of one that is too long for a tag is a hash of it."""
    if len(launch_id) > _LONGEST_TAG:
        end = hashlib.sha256(launch_id.encode()).hexdigest()[:12]
        launch_id = f"{launch_id[: _LONGEST_TAG - 13]}-{end}"
    return {LAUNCH_TAG: launch_id}


def whole_data_version(made: Sequence[Made]) -> str:
    """Of all of it: its own where it is one thing, else a hash of every part's."""
    if len(made) == 1:
        return made[0].data_version
    parts = sorted(f"{one.partition}={one.data_version}" for one in made)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def total_rows(made: Sequence[Made]) -> int | None:
    """Rows of all partitions; None where it is not said of each."""
    counts = [
        m.metadata["dagster/row_count"].value for m in made if "dagster/row_count" in m.metadata
    ]
    return sum(int(str(count)) for count in counts) if counts and len(counts) == len(made) else None


def made_partitions(report: AssetReport) -> list[str | None]:
    """Of each materialization; cheaper than `Published.of`. Raises ReportError as that does."""
    return _read(report, _MATERIALIZATION, _partition)


_MATERIALIZATION, _CHECK = "report_asset_materialization", "report_asset_check"
_T = TypeVar("_T")


def _read(report: AssetReport, method: str, read: Callable[[Mapping[str, Any]], _T]) -> list[_T]:
    try:
        return [read(m["params"]) for m in report.messages if m["method"] == method]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ReportError(
            f"report of {'/'.join(report.asset_key)} by {report.run}: a message is not as Dagster "
            f"Pipes has it: {type(error).__name__}: {error}"
        ) from None


def _partition(params: Mapping[str, Any]) -> str | None:
    partition = params["metadata"].get(PARTITION)
    return None if partition is None else checked_text(partition["raw_value"], "partition")


def _made(params: Mapping[str, Any]) -> Made:
    metadata = {name: entry for name, entry in params["metadata"].items() if name != PARTITION}
    return Made(
        partition=_partition(params),
        data_version=checked_text(params["data_version"], "data version"),
        metadata=typed_metadata(metadata),
    )


def _check(params: Mapping[str, Any]) -> CheckOutcome:
    name, passed = params["check_name"], params["passed"]
    if not CHECK_NAME.fullmatch(name):
        raise ValueError(f"check_name {name!r} has other signs than letters, digits and '_'")
    if not isinstance(passed, bool):
        raise TypeError(f"passed is {passed!r}, neither true nor false")
    return CheckOutcome(
        name=name,
        passed=passed,
        severity=AssetCheckSeverity(params["severity"]),
        metadata=typed_metadata(params["metadata"]),
    )
