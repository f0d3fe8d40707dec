"""Records in Dagster what flows published that others launched: a person, a schedule, a cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetKey,
    DagsterInvariantViolationError,
    DefaultSensorStatus,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from dagster_metaflow.cursor import Seen
from dagster_metaflow.flow import MetaflowFlow
from dagster_metaflow.listing import ReportFile, list_reports, read_files
from dagster_metaflow.recorded import Event, Recorded, Report
from dagster_metaflow.reports import ReportError, parse_report
from dagster_metaflow.stores import without_secrets

_MOST_READ = 10_000
"""Reports read in one tick: a first look at a large ledger takes several."""
_MOST_TOLD = 20
_NO_ANSWER = (
    "The ledger under {place} cannot be looked at: {error}. Nothing is passed over: the next tick "
    "goes on from here. If this stays so, see whether the store is up, and whether the sensor's "
    "ledger_root and the credentials are right."
)


def build_external_runs_sensor(
    name: str = "external_metaflow_runs",
    *,
    ledger_root: str,
    flows: Sequence[MetaflowFlow | str] = (),
    asset_keys: Mapping[str, AssetKey | str] | None = None,
    known_assets_only: bool = False,
    minimum_interval_seconds: int = 30,
    default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
    most_events: int = 500,
) -> SensorDefinition:
    """A sensor that records runs started outside Dagster as materializations and check results.

    Each is recorded once, and in order of publication, also after a restart, after a daemon that
    was killed in the middle of a tick, and when the sensor's cursor is reset. Runs that Dagster
    launched are left out: their ops record them.

    ledger_root: as of the resource. flows: flows or their names; all of the ledger when left out.
    asset_keys: Dagster's key by the one that flows report (`a/b`), where the two differ.
    known_assets_only: leave out assets and checks that the code location does not have.
    most_events: of one tick; a report is never split, and what is left comes with the next tick.

    A report that is damaged is told in the tick's log, stops no other, and is looked at again when
    its file changes; so is a folder that may not be read, at every tick. A store that does not
    answer is a skipped tick; the next one goes on where it would have.
    """
    renamed = {
        reported: AssetKey.from_user_string(key) if isinstance(key, str) else key
        for reported, key in (asset_keys or {}).items()
    }
    place = without_secrets(ledger_root)

    @sensor(
        name=name,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description=f"Records Metaflow runs that were started outside Dagster: {place}",
    )
    def external_runs(context: SensorEvaluationContext) -> SensorResult:
        names = {flow if isinstance(flow, str) else flow.name for flow in flows}
        tick = _Tick(context, renamed, known_assets_only, most_events)
        try:
            return tick.look(ledger_root, names or None)
        except OSError as error:  # before anything was recorded
            return SensorResult(skip_reason=_NO_ANSWER.format(place=place, error=error))

    return external_runs


class _Tick:
    """One look at the files that are new."""

    def __init__(
        self,
        context: SensorEvaluationContext,
        asset_keys: Mapping[str, AssetKey],
        known_assets_only: bool,
        most_events: int,
    ) -> None:
        self._context = context
        self._asset_keys = asset_keys
        self._known = _Known.of(context) if known_assets_only else None
        self._most_events = most_events
        self._bad = 0
        self.events: list[Event] = []

    def look(self, root: str, flows: Set[str] | None) -> SensorResult:
        """Raises OSError for a ledger that cannot be looked at, and has recorded nothing then."""
        files = list_reports(root, flows, tell=self.tell)
        left = self.record(root, Seen.read(self._context.cursor).unseen(files))
        return SensorResult(
            asset_events=self.events,
            cursor=Seen.of(files, left).write(),
            skip_reason=self.summary(len(files), len(left)),
        )

    def record(self, root: str, files: Sequence[ReportFile]) -> list[ReportFile]:
        """Fills `events`; gives the files that are left for the next tick."""
        left = list(files[_MOST_READ:])
        found: list[tuple[Report, ReportFile]] = []
        late = False
        for file, data in zip(files, read_files(root, files[:_MOST_READ]), strict=False):
            # What came later stays for the next tick with it: it would be recorded out of order.
            late = late or data is None or isinstance(data, TimeoutError)
            if late:
                left.append(file)
            elif isinstance(data, OSError):
                left.append(file)
                self.tell(f"{file.path}: cannot be read, and is tried again: {data}")
            elif data is not None and (report := self._parsed(file, data)) is not None:
                found.append((report, file))
        found.sort(key=lambda pair: (pair[0].content.written, pair[0].asset_key))
        recorded = Recorded(self._context.instance, [report for report, _ in found])
        for report, file in found:
            if len(self.events) >= self._most_events:
                left.append(file)
            else:
                self._add(recorded, report, file)
        return left

    def _parsed(self, file: ReportFile, data: bytes) -> Report | None:
        try:
            content = parse_report(file.path, data)
            reported = "/".join(content.asset_key)
            key = self._asset_keys.get(reported) or AssetKey(content.asset_key)
            report = Report(key, content)
        except ReportError as error:
            words = str(error) if file.path in str(error) else f"{file.path}: {error}"
            self.tell(f"a damaged report is left out until it changes: {words}")
            return None
        return report if self._known is None or key in self._known.assets else None

    def _add(self, recorded: Recorded, report: Report, file: ReportFile) -> None:
        try:
            missing = recorded.missing(report)
        except ReportError as error:
            self.tell(f"a damaged report is left out until it changes: {file.path}: {error}")
            return
        self.events += [e for e in missing if self._known is None or self._known.has(e)]

    def tell(self, words: str) -> None:
        self._bad += 1
        if self._bad <= _MOST_TOLD:
            self._context.log.warning(words)

    def summary(self, files: int, left: int) -> str:
        parts = [f"{len(self.events)} events recorded" if self.events else "nothing new"]
        parts += [f"{self._bad} reports could not be recorded; see the log"] if self._bad else []
        parts += [f"{left} are left for the next tick"] if left else []
        return f"{'; '.join(parts)} ({files} reports of runs from outside Dagster)"


@dataclass(frozen=True)
class _Known:
    """What the code location has."""

    assets: Set[AssetKey]
    checks: Set[AssetCheckKey]

    @classmethod
    def of(cls, context: SensorEvaluationContext) -> _Known:
        if context.repository_def is None:
            raise DagsterInvariantViolationError(
                "known_assets_only needs the code location's definitions; in a test, give them to "
                "build_sensor_context(definitions=...)"
            )
        graph = context.repository_def.asset_graph
        return cls(graph.get_all_asset_keys(), graph.asset_check_keys)

    def has(self, event: Event) -> bool:
        if not isinstance(event, AssetCheckEvaluation):
            return True
        return AssetCheckKey(event.asset_key, event.check_name) in self.checks
