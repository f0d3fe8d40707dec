"""Reports of a run as the results of the op that launched it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    DataVersion,
    Failure,
    MaterializeResult,
    MetadataValue,
)
from dagster_shared.record import replace

from dagster_metaflow.data_versions import noted_versions
from dagster_metaflow.events import Made, Published, launch_tag, total_rows, whole_data_version
from dagster_metaflow.ledger import LaunchRecord
from dagster_metaflow.selection import Selection

if TYPE_CHECKING:
    from dagster._core.execution.context.system import StepExecutionContext

Event = MaterializeResult[Any] | AssetMaterialization | AssetCheckResult | AssetCheckEvaluation


class Recorder:
    """Says each selected asset once, and whatever else was published as events beside it.

    Of an asset that another task publishes again the later report counts.
    """

    def __init__(
        self, context: AssetExecutionContext, selection: Selection, parameters: Mapping[str, Any]
    ) -> None:
        self._context = context
        self._selection = selection
        self._parameters = dict(parameters)
        self._done: set[AssetKey] = set()
        self._noted: dict[AssetKey, Mapping[str, str]] = {}
        self._versions: dict[tuple[AssetKey, str | None], str] = {}
        self._said: set[AssetCheckKey] = set()
        self._failing: set[AssetCheckKey] = set()
        self._lacking: dict[AssetKey, str] = {}
        self._began = time.monotonic()

    def record(self, published: Published, record: LaunchRecord) -> Iterator[Event]:
        """The result for one report, and each partition of several. What cannot be a result becomes
        events of their own: assets and partitions that were not selected, and what is published
        again with another content."""
        key = published.asset_key
        if key not in self._selection.assets:
            self._beside(published, "which was not selected")
            return
        if key in self._done:
            yield from self._again(published, self._of_launch(record))
            return
        if missing := self._missing(published):
            self._lacking[key] = missing
            self._beside(published, f"without {missing}")
            return
        self._lacking.pop(key, None)
        self._done.add(key)
        chosen = self._chosen(published)
        of_launch = self._of_launch(record)
        several = self._selection.partitions is not None and len(chosen) > 1
        self._versions |= {(key, made.partition): made.data_version for made in chosen}
        yield MaterializeResult(
            asset_key=key,
            metadata={
                **published.metadata(),
                **of_launch,
                **({} if several else self._of_whole(chosen)),
            },
            # With several, the last one's: it is the last to be said again below, and then Dagster
            # finds what it remembers of this step.
            data_version=DataVersion(
                chosen[-1].data_version if several else whole_data_version(chosen)
            ),
            tags=launch_tag(record.launch_id),
        )
        self._noted[key] = noted_versions(self._context.instance, key)
        if several:
            yield from self._each(published, chosen, of_launch)
        # Last: with them Dagster notes which events are the latest, also for the provenance of
        # assets that depend on these.
        yield from self._outcomes(published)

    def _each(
        self, published: Published, chosen: list[Made], of_launch: Mapping[str, MetadataValue]
    ) -> Iterator[AssetMaterialization]:
        """Every partition with its own metadata and data version.

        Dagster gives all partitions of a result one data version, so that a range that is made
        again would make what depends on any of it stale. These come after the result, are the
        latest of their partitions, and carry what it noted of code and inputs.
        """
        versions = self._noted[published.asset_key]
        for made in chosen:
            yield published.materialization(made, metadata=of_launch, tags=versions)

    def _again(
        self, published: Published, of_launch: Mapping[str, MetadataValue]
    ) -> Iterator[Event]:
        """What has another data version than before, and every check.

        Dagster takes one result a step, so that these are events, with what the result noted of
        code and inputs.
        """
        key = published.asset_key
        self._context.log.info(f"{published.flow} published {key.to_user_string()} again")
        known = self._versions
        changed = [
            made
            for made in self._chosen(published)
            if known.get((key, made.partition)) != made.data_version
        ]
        known |= {(key, made.partition): made.data_version for made in changed}
        yield from self._each(published, changed, of_launch)
        if changed:
            # Else assets of this step that depend on it would be noted as made of what was before.
            self._step.wipe_input_asset_version_info(key)
            self._step.set_data_version(key, DataVersion(changed[-1].data_version))
        yield from self._outcomes(published)

    def finish(self, record: LaunchRecord, unreadable: Mapping[str, str]) -> None:
        """Raises Failure when something that was selected has no report, or when a blocking check
        failed. unreadable: files."""
        missing = sorted(self._selection.assets - self._done)
        if not missing:
            self._refuse_unsound(record)
            return
        names = ", ".join(
            f"{key.to_user_string()} (without {self._lacking[key]})"
            if key in self._lacking
            else key.to_user_string()
            for key in missing
        )
        hint = " ".join(unreadable.values()) or (
            "Does the flow write its reports with this launch id, under the resource's "
            "ledger_root, and under these keys?"
        )
        raise Failure(
            f"{record.flow} ended well, but did not report {names} under launch "
            f"{record.launch_id}. {hint} Then materialize them again, which starts a new run.",
            metadata={"launch_id": MetadataValue.text(record.launch_id)},
            allow_retries=False,
        )

    def _refuse_unsound(self, record: LaunchRecord) -> None:
        if not self._failing:
            return
        names = ", ".join(
            sorted(f"{k.name} of {k.asset_key.to_user_string()}" for k in self._failing)
        )
        raise Failure(
            f"{record.flow} ended well, but blocking checks failed: {names}. What depends on these "
            "assets is not made of them. See the checks' metadata; correct the data or the flow, "
            "then materialize the assets again.",
            metadata={"launch_id": MetadataValue.text(record.launch_id)},
            allow_retries=False,
        )

    def _missing(self, published: Published) -> str | None:
        """Partitions that were selected and are not in the report, in words."""
        there = {made.partition for made in published.made}
        missing = [p for p in self._selection.partitions or () if p not in there]
        if not missing:
            return None
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        return f"partition {', '.join(missing[:5])}{more}"

    def _chosen(self, published: Published) -> list[Made]:
        """What was made of the selection; other partitions become events of their own."""
        wanted = self._selection.partitions
        if wanted is None:
            return list(published.made)
        made = {m.partition: m for m in published.made}
        selected = set(wanted)
        for event in published.materializations():
            if event.partition not in selected:
                self._context.log_event(event)
        return [made[partition] for partition in wanted if partition in made]

    def _of_whole(self, chosen: list[Made]) -> Mapping[str, MetadataValue]:
        """Metadata of what is one thing to Dagster, whatever parts its report has."""
        if len(chosen) == 1:
            return chosen[0].metadata
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

    def _outcomes(self, published: Published) -> Iterator[AssetCheckResult | AssetCheckEvaluation]:
        """The first outcome of a check as its result, later ones as events.

        So is a failure that blocks: as a result it would fail the step for good, and a task that is
        retried may mend it. `finish` fails the step when none has.
        """
        for result in self._checks(published):
            result = result.with_metadata({**result.metadata, **self._together})
            key = AssetCheckKey(published.asset_key, str(result.check_name))
            evaluation = result.to_asset_check_evaluation(self._step)
            severe = result.severity is AssetCheckSeverity.ERROR
            blocks = bool(evaluation.blocking) and severe and not result.passed
            self._failing = self._failing | {key} if blocks else self._failing - {key}
            if blocks or key in self._said:
                yield replace(evaluation, blocking=None)
            else:
                self._said.add(key)
                yield result

    @property
    def _together(self) -> dict[str, MetadataValue]:
        """That a check is of all partitions of the run. Dagster plans one for each of them, which
        no outcome comes to, and which it calls skipped."""
        several = self._selection.partitions or ()
        if len(several) < 2:
            return {}
        words = f"{len(several)} as one: {several[0]} to {several[-1]}"
        return {"partitions": MetadataValue.text(words)}

    @property
    def _step(self) -> StepExecutionContext:
        return self._context.op_execution_context.get_step_execution_context()

    def _beside(self, published: Published, why: str) -> None:
        self._context.log.info(
            f"{published.flow} published {published.asset_key.to_user_string()}, {why}"
        )
        for event in published.materializations():
            self._context.log_event(event)
