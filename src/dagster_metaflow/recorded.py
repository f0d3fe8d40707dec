"""What Dagster has on record already of reports that are about to be recorded.

A cursor alone cannot tell: the daemon stores a tick's events first and its cursor after them, and a
cursor can be lost or reset. Events carry the launch and the moment of publication, which name them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetKey,
    AssetMaterialization,
    AssetRecordsFilter,
    DagsterInstance,
    MetadataValue,
)

from dagster_metaflow.events import PUBLISHED, Published, made_partitions
from dagster_metaflow.reports import AssetReport

Event = AssetMaterialization | AssetCheckEvaluation

_PAGE = 500
_MOST_PARTITIONS_ASKED = 200
_SKEW_SECONDS = 86_400.0
"""By which a writer's clock may be ahead of the instance's."""


@dataclasses.dataclass(frozen=True)
class Report:
    """One to be recorded. asset_key: in Dagster. Raises ReportError when it is made of messages
    that are not as Pipes has them."""

    asset_key: AssetKey
    content: AssetReport

    def __post_init__(self) -> None:
        made_partitions(self.content)

    @property
    def origin(self) -> tuple[object, object]:
        return self.content.launch_id, self.content.written.timestamp()

    @property
    def partitions(self) -> list[str | None]:
        return made_partitions(self.content)

    def published(self) -> Published:
        return dataclasses.replace(Published.of(self.content), asset_key=self.asset_key)


class Recorded:
    """Looks up each asset's history once, no further back than the oldest report in question."""

    def __init__(self, instance: DagsterInstance, reports: Sequence[Report]) -> None:
        self._instance = instance
        self._found: dict[object, int] = {}
        for key in dict.fromkeys(report.asset_key for report in reports):
            self._look_up(key, [report for report in reports if report.asset_key == key])
        self._latest = max(self._found.values(), default=-1)

    def missing(self, report: Report) -> list[Event]:
        """Events of a report that are still to be recorded, in order."""
        stored = [self._found.get(_name(report, p)) for p in report.partitions]
        there = [number for number in stored if number is not None]
        if there and len(there) == len(stored) and max(there) != self._latest:
            return []  # others were recorded after it, hence its checks were too
        published = report.published()
        made = zip(published.materializations(), stored, strict=True)
        missing: list[Event] = [event for event, number in made if number is None]
        checks = published.check_evaluations()
        if missing:
            return [*missing, *checks]
        return [event for event in checks if not self._has_check(event)]

    def _look_up(self, key: AssetKey, reports: Sequence[Report]) -> None:
        wanted = {_name(r, partition) for r in reports for partition in r.partitions}
        partitions = {partition for r in reports for partition in r.partitions}
        named = sorted(partition for partition in partitions if partition is not None)
        few = len(partitions) == len(named) <= _MOST_PARTITIONS_ASKED
        question = AssetRecordsFilter(
            key,
            asset_partitions=named if few else None,
            after_timestamp=min(r.content.written.timestamp() for r in reports) - _SKEW_SECONDS,
        )
        history = self._history(question) if wanted else iter(())
        for number, made in history:
            name = (made.asset_key, *_origin(made.metadata), made.partition)
            if name in wanted:
                self._found[name] = number
                wanted.remove(name)
                if not wanted:
                    return

    def _history(self, question: AssetRecordsFilter) -> Iterator[tuple[int, AssetMaterialization]]:
        """The latest first, a page at a time."""
        cursor, more = None, True
        while more:
            page = self._instance.fetch_materializations(question, limit=_PAGE, cursor=cursor)
            for record in page.records:
                if record.asset_materialization is not None:
                    yield record.storage_id, record.asset_materialization
            cursor, more = page.cursor, page.has_more

    def _has_check(self, event: AssetCheckEvaluation) -> bool:
        origin = _origin(event.metadata)
        return any(_origin(e.metadata) == origin for e in self._evaluations(event, origin[1]))

    def _evaluations(
        self, event: AssetCheckEvaluation, since: object
    ) -> Iterator[AssetCheckEvaluation]:
        """Of the same check, the latest first; none that is older than the publication."""
        key, cursor = AssetCheckKey(event.asset_key, event.check_name), None
        oldest = float(str(since)) - _SKEW_SECONDS
        while page := self._instance.event_log_storage.get_asset_check_execution_history(
            key, limit=_PAGE, cursor=cursor
        ):
            for record in page:
                if record.create_timestamp < oldest:
                    return
                if record.evaluation is not None:
                    yield record.evaluation
            cursor = page[-1].id


def _name(report: Report, partition: str | None) -> tuple[object, ...]:
    return (report.asset_key, *report.origin, partition)


def _origin(metadata: Mapping[str, MetadataValue]) -> tuple[object, object]:
    """Launch and moment of publication, which together name what was published."""
    launch, published = metadata.get("launch_id"), metadata.get(PUBLISHED)
    return (launch and launch.value, published and published.value)
