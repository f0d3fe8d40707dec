"""Reports of a run as the results of the op that launched it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    DataVersion,
    Failure,
    MaterializeResult,
    MetadataValue,
)

from dagster_metaflow.events import LAUNCH_TAG, Made, Published, total_rows
from dagster_metaflow.ledger import LaunchRecord
from dagster_metaflow.selection import Selection


class Recorder:
    """Says each selected asset once, and whatever else was published as events beside it."""

    def __init__(
        self, context: AssetExecutionContext, selection: Selection, parameters: Mapping[str, Any]
    ) -> None:
        self._context = context
        self._selection = selection
        self._parameters = dict(parameters)
        self._done: set[AssetKey] = set()
        self._began = time.monotonic()

    def record(
        self, published: Published, record: LaunchRecord
    ) -> Iterator[MaterializeResult[Any] | AssetCheckResult]:
        """Results for one report. Raises Failure when it lacks a partition that was selected."""
        key = published.asset_key
        if key not in self._selection.assets:
            self._beside(published)
            return
        if key in self._done:
            return
        self._done.add(key)
        chosen = self._chosen(published)
        common = {**published.metadata(), **self._of_launch(record)}
        yield MaterializeResult(
            asset_key=key,
            metadata={**common, **self._of_partitions(key, chosen)},
            data_version=DataVersion(published.data_version),
            check_results=list(self._checks(published)),
            tags={LAUNCH_TAG: record.launch_id},
        )

    def finish(self, record: LaunchRecord) -> Iterator[MaterializeResult[Any] | AssetCheckResult]:
        """Raises Failure when an asset that was selected has no report."""
        if missing := sorted(k.to_user_string() for k in self._selection.assets - self._done):
            raise Failure(
                f"{record.flow} ended well, but reported nothing of {', '.join(missing)} under "
                f"launch {record.launch_id}. Does the flow write its reports with this launch id, "
                "under the resource's ledger_root, and under these keys?",
                metadata={"launch_id": MetadataValue.text(record.launch_id)},
            )
        yield from ()

    def _chosen(self, published: Published) -> list[Made]:
        """What was made of the selection; other partitions become events of their own."""
        wanted = self._selection.partitions
        if wanted is None:
            return list(published.made)
        made = {m.partition: m for m in published.made}
        if missing := [p for p in wanted if p not in made]:
            raise Failure(
                f"{published.flow} published {published.asset_key.to_user_string()} without "
                f"partition {', '.join(missing[:5])}{' and more' if len(missing) > 5 else ''}, "
                "which was selected.",
                metadata=published.metadata(),
            )
        for event in published.materializations():
            if event.partition not in wanted:
                self._context.log_event(event)
        return [made[partition] for partition in wanted]

    def _of_partitions(self, key: AssetKey, chosen: list[Made]) -> Mapping[str, MetadataValue]:
        """Metadata of the one thing made; of several partitions, each gets its own."""
        if len(chosen) == 1:
            return chosen[0].metadata
        if self._selection.partitions is not None:
            for made in chosen:
                self._context.add_asset_metadata(
                    made.metadata, asset_key=key, partition_key=made.partition
                )
            return {}
        rows = total_rows(chosen)
        found = {"partitions": MetadataValue.int(len(chosen))}
        return found if rows is None else found | {"dagster/row_count": MetadataValue.int(rows)}

    def _of_launch(self, record: LaunchRecord) -> dict[str, MetadataValue]:
        return {
            "metaflow_flow": MetadataValue.text(record.flow),
            "backend": MetadataValue.text(record.backend),
            "parameters": MetadataValue.json(self._parameters),
            "seconds_since_launch": MetadataValue.float(round(time.monotonic() - self._began, 3)),
        }

    def _checks(self, published: Published) -> Iterator[AssetCheckResult]:
        """Those that are declared; one that is declared and was not reported has not passed."""
        wanted = self._selection.checks.get(published.asset_key, frozenset())
        found = {result.check_name: result for result in published.check_results()}
        if undeclared := sorted(map(str, found.keys() - wanted)):
            self._context.log.debug(
                f"{published.asset_key.to_user_string()}: checks without a spec, or not selected: "
                f"{', '.join(undeclared)}"
            )
        for name in sorted(wanted):
            yield found.get(name) or AssetCheckResult(
                asset_key=published.asset_key,
                check_name=name,
                passed=False,
                severity=AssetCheckSeverity.ERROR,
                description=f"{published.flow} did not report this check.",
            )

    def _beside(self, published: Published) -> None:
        self._context.log.info(
            f"{published.flow} also published {published.asset_key.to_user_string()}, which was "
            "not selected"
        )
        for event in published.materializations():
            self._context.log_event(event)
