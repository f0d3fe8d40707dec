"""A flow's assets declared in YAML, for those who write no Python.

Annotations are looked at by Dagster as they are: this module does not postpone them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from dagster.components.resolved.context import ResolutionContext
from dagster.components.resolved.core_models import OpSpec
from pydantic import Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from dagster_metaflow.decorator import metaflow_assets
from dagster_metaflow.flow import MetaflowFlow
from dagster_metaflow.resource import MetaflowResource
from dagster_metaflow.sensors import build_external_runs_sensor


class RetrySettings(dg.Model, dg.Resolvable):
    """Of a run that failed."""

    max_retries: Annotated[int, Field(ge=1, description="Times a failed run is resumed.")] = 1
    delay: Annotated[float, Field(ge=0, description="Seconds before it is.")] = 0.0


class ScheduleSettings(dg.Model, dg.Resolvable):
    cron_schedule: Annotated[str, Field(description="When, such as `0 6 * * 1`.")]
    execution_timezone: Annotated[str, Field(description="Of the cron schedule.")] = "UTC"
    running: Annotated[bool, Field(description="Whether it starts switched on.")] = False


class ExternalRunsSettings(dg.Model, dg.Resolvable):
    minimum_interval_seconds: Annotated[int, Field(ge=1, description="Between two looks.")] = 30
    running: Annotated[bool, Field(description="Whether it starts switched on.")] = False


def _or_template(field: FieldInfo) -> tuple[Any, Any]:
    """Of the field's type, or a `{{ template }}` that will be; checked when it is resolved."""
    kind: Any = field.annotation
    return kind | str | None, Field(default=None, description=field.description)


ResourceSettings = create_model(
    "ResourceSettings",
    __base__=dg.Model,
    **{name: _or_template(field) for name, field in MetaflowResource.model_fields.items()},
)  # type: ignore[call-overload]
"""The resource's own fields, so that YAML is described by them, and checked by their names."""


def _made_resource(context: ResolutionContext, settings: Any) -> MetaflowResource | None:
    if settings is None:
        return None
    given = context.resolve_value(settings.model_dump(exclude_unset=True))
    try:
        made = MetaflowResource(**given)
    except ValidationError as error:
        raise dg.DagsterInvalidDefinitionError(f"`resource`: {error}") from None
    if made.backend not in made.backends():
        known = ", ".join(made.backends())
        raise dg.DagsterInvalidDefinitionError(
            f"`resource`: there is no backend {made.backend!r}; there are {known}"
        )
    return made


def _beside(context: ResolutionContext, path: str) -> Path:
    """Relative to the YAML's folder."""
    return context.resolve_source_relative_path(context.resolve_value(path, as_type=str))


def _all_beside(context: ResolutionContext, paths: Sequence[str]) -> list[Path]:
    return [_beside(context, path) for path in paths]


class MetaflowComponent(dg.Component, dg.Model, dg.Resolvable):
    """The assets that a Metaflow flow publishes.

    Beside them a job that materializes them all, and on demand a schedule, and a sensor that
    records runs started elsewhere.
    """

    flow: Annotated[
        Path,
        dg.Resolver(_beside, model_field_type=str, description="Flow file, from this folder."),
    ]
    assets: Annotated[
        Sequence[dg.ResolvedAssetSpec],
        Field(description="What the flow publishes, by the keys under which it reports."),
    ]
    checks: Annotated[
        Sequence[dg.ResolvedAssetCheckSpec], Field(description="Checks that the flow reports.")
    ] = ()
    code: Annotated[
        Sequence[Path],
        dg.Resolver(
            _all_beside,
            model_field_type=Sequence[str],
            description="Files and folders that the flow runs beside its own: assets are stale "
            "when one of them changes.",
        ),
    ] = ()
    parameters: Annotated[
        Mapping[str, Any],
        Field(
            default_factory=dict,
            description="Flow parameters that are settled here; others are run config.",
        ),
    ]
    resource: Annotated[
        Any,
        dg.Resolver(
            _made_resource,
            model_field_type=ResourceSettings | None,
            description="Where runs run and report. The location's resource `metaflow` when left "
            "out.",
        ),
    ] = None
    op: Annotated[
        OpSpec | None, Field(description="Name, tags, pool and backfill policy of the op.")
    ] = None
    retry_policy: Annotated[
        RetrySettings | None, Field(description="Resumes a failed run by itself.")
    ] = None
    schedule: Annotated[
        ScheduleSettings | None,
        Field(description="Materializes all assets; of partitioned ones the latest partition."),
    ] = None
    external_runs: Annotated[
        ExternalRunsSettings | None,
        Field(description="Records runs started outside Dagster; needs `resource`."),
    ] = None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """Raises DagsterInvalidDefinitionError for a flow that cannot be loaded, and for settings
        that do not fit it."""
        flow = MetaflowFlow(self.flow, code=self.code, fixed=self.parameters)
        assets = self._assets(flow)
        job = dg.define_asset_job(f"{self._name}_job", selection=[*assets.keys])
        return dg.Definitions(
            assets=[assets],
            jobs=[job],
            schedules=[self._schedule(self.schedule, job)] if self.schedule else [],
            sensors=[self._sensor(self.external_runs, flow)] if self.external_runs else [],
        )

    @property
    def _name(self) -> str:
        return (self.op and self.op.name) or self.flow.stem

    def _assets(self, flow: MetaflowFlow) -> dg.AssetsDefinition:
        op, own = self.op or OpSpec(), self._resource
        declare = metaflow_assets(
            flow=flow,
            assets=self.assets,
            check_specs=self.checks,
            backfill_policy=op.backfill_policy,
            name=self._name,
            pool=op.pool,
            op_tags=op.tags,
            retry_policy=self._retry_policy,
        )

        if own is not None:
            return declare(lambda context: own.run(context, flow).stream())

        def shared(context: dg.AssetExecutionContext, metaflow: MetaflowResource) -> Iterator[Any]:
            yield from metaflow.run(context, flow).stream()

        return declare(shared)

    @property
    def _resource(self) -> MetaflowResource | None:
        return self.resource if isinstance(self.resource, MetaflowResource) else None

    @property
    def _retry_policy(self) -> dg.RetryPolicy | None:
        given = self.retry_policy
        if given is None:
            return None
        return dg.RetryPolicy(max_retries=given.max_retries, delay=given.delay)

    def _schedule(self, settings: ScheduleSettings, job: Any) -> dg.ScheduleDefinition:
        partitions = next((s.partitions_def for s in self.assets if s.partitions_def), None)

        def latest(_: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
            if partitions is None:
                return dg.RunRequest()
            key = partitions.get_last_partition_key()
            return dg.RunRequest(partition_key=key) if key else dg.SkipReason("no partition yet")

        return dg.ScheduleDefinition(
            name=f"{self._name}_schedule",
            job=job,
            cron_schedule=settings.cron_schedule,
            execution_timezone=settings.execution_timezone,
            execution_fn=latest,
            default_status=dg.DefaultScheduleStatus.RUNNING
            if settings.running
            else dg.DefaultScheduleStatus.STOPPED,
        )

    def _sensor(self, settings: ExternalRunsSettings, flow: MetaflowFlow) -> dg.SensorDefinition:
        if self._resource is None:
            raise dg.DagsterInvalidDefinitionError(
                f"{self._name}: `external_runs` needs `resource`, whose ledger_root says where "
                "runs report"
            )
        return build_external_runs_sensor(
            f"{self._name}_external_runs",
            ledger_root=self._resource.ledger_root,
            flows=[flow],
            minimum_interval_seconds=settings.minimum_interval_seconds,
            default_status=dg.DefaultSensorStatus.RUNNING
            if settings.running
            else dg.DefaultSensorStatus.STOPPED,
        )
