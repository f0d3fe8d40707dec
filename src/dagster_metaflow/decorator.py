"""Declare what a flow publishes as Dagster assets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dagster import (
    AssetCheckSpec,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    DagsterInvalidDefinitionError,
    PartitionsDefinition,
    RetryPolicy,
    multi_asset,
)

from dagster_metaflow.flow import MetaflowFlow
from dagster_metaflow.selection import partition_parameters
from dagster_metaflow.translator import MetaflowTranslator


def metaflow_assets(
    *,
    flow: MetaflowFlow,
    assets: Sequence[str | AssetSpec],
    check_specs: Sequence[AssetCheckSpec] = (),
    translator: MetaflowTranslator | None = None,
    partitions_def: PartitionsDefinition[Any] | None = None,
    backfill_policy: BackfillPolicy | None = None,
    name: str | None = None,
    pool: str | None = None,
    retry_policy: RetryPolicy | None = None,
    op_tags: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], AssetsDefinition]:
    """Turns a function that streams a run of `flow` into the assets that the run publishes.

        @metaflow_assets(flow=FLOW, assets=["model", "scores"])
        def fraud(context: dg.AssetExecutionContext, metaflow: MetaflowResource):
            yield from metaflow.run(context, FLOW).stream()

    assets: names, or specs for more than the translator tells; the last part of a key is the name
    under which the flow knows the asset. Several can be selected singly when the flow has the
    parameter that takes their names. The flow's parameters are the op's run config.
    backfill_policy: by default one run for all partitions, when the flow takes a range of them.

    Raises DagsterInvalidDefinitionError for a flow that cannot be loaded, and for assets that a
    flow could not tell apart.
    """
    translator = translator or MetaflowTranslator()
    specs = [translator.get_asset_spec(flow, asset) for asset in assets]
    _require_names(flow, specs)
    partitioned = partitions_def or next(
        (s.partitions_def for s in specs if s.partitions_def), None
    )
    return multi_asset(
        name=name or flow.path.stem,
        specs=specs,
        check_specs=list(check_specs) or None,
        can_subset=len(specs) > 1 and flow.protocol.assets in flow.parameters,
        partitions_def=partitions_def,
        backfill_policy=backfill_policy or (_backfills(flow) if partitioned else None),
        config_schema=flow.config_schema,
        compute_kind=None,
        pool=pool,
        retry_policy=retry_policy,
        op_tags=op_tags,
    )


def _require_names(flow: MetaflowFlow, specs: Sequence[AssetSpec]) -> None:
    if not specs:
        raise DagsterInvalidDefinitionError(f"{flow.path}: name at least one asset of the flow")
    names = Counter(spec.key.path[-1] for spec in specs)
    twice = [name for name, count in names.items() if count > 1]
    if twice and flow.protocol.assets in flow.parameters:
        raise DagsterInvalidDefinitionError(
            f"{flow.name}: two assets end in {', '.join(twice)}. The flow is told the last part of "
            "a key, so that one of them could not be selected alone; rename one."
        )


def _backfills(flow: MetaflowFlow) -> BackfillPolicy:
    """Raises Failure for a flow that takes no partition at all."""
    protocol = flow.protocol
    if {protocol.partition_start, protocol.partition_end} <= flow.parameters.keys():
        return BackfillPolicy.single_run()
    partition_parameters(flow, ("",))
    return BackfillPolicy.multi_run(1)
