"""What an execution has selected, put as parameters and tags of a Metaflow run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dagster import AssetExecutionContext, AssetKey, Failure

from dagster_metaflow.flow import MetaflowFlow

_TAG_LENGTH = 200
_MOST_ASSET_TAGS = 20


@dataclass(frozen=True)
class Selection:
    """assets: keys to materialize, by the name under which a flow knows them (last part).

    checks: selected checks by asset. partitions: selected keys, None for assets without.
    """

    assets: frozenset[AssetKey]
    checks: Mapping[AssetKey, frozenset[str]]
    partitions: tuple[str, ...] | None
    config: Mapping[str, Any]
    parameters: Mapping[str, Any]
    tags: tuple[str, ...]

    @classmethod
    def of(cls, context: AssetExecutionContext, flow: MetaflowFlow) -> Selection:
        """Raises Failure when only checks are selected: those are measured by the run itself."""
        assets = frozenset(context.selected_asset_keys)
        if not assets:
            raise Failure(
                f"Only checks were selected. Those of {flow.name} are measured while it runs: "
                "materialize their assets.",
                allow_retries=False,
            )
        checks: dict[AssetKey, frozenset[str]] = {}
        for key in context.selected_asset_check_keys:
            checks[key.asset_key] = checks.get(key.asset_key, frozenset()) | {key.name}
        partitions = tuple(context.partition_keys) if _is_partitioned(context, assets) else None
        return cls(
            assets=assets,
            checks=checks,
            partitions=partitions,
            config=dict(context.op_execution_context.op_config or {}),
            parameters={
                **_asset_parameter(context, flow, assets),
                **partition_parameters(flow, partitions),
            },
            tags=_tags(context, assets, partitions),
        )


def _is_partitioned(context: AssetExecutionContext, assets: frozenset[AssetKey]) -> bool:
    """A job may hold assets without partitions beside others: the run's are none of theirs."""
    specs = context.assets_def.specs_by_key
    return (context.has_partition_key or context.has_partition_key_range) and any(
        specs[key].partitions_def is not None for key in assets
    )


def _asset_parameter(
    context: AssetExecutionContext, flow: MetaflowFlow, assets: frozenset[AssetKey]
) -> dict[str, str]:
    """Nothing when all are selected: the flow's own default."""
    if assets == frozenset(context.assets_def.specs_by_key):  # `keys` are the selected ones
        return {}
    return {flow.protocol.assets: ",".join(sorted(key.path[-1] for key in assets))}


def partition_parameters(flow: MetaflowFlow, partitions: tuple[str, ...] | None) -> dict[str, str]:
    """Raises Failure when the flow cannot take that many partitions in one run."""
    if partitions is None:
        return {}
    protocol = flow.protocol
    if {protocol.partition_start, protocol.partition_end} <= flow.parameters.keys():
        return {protocol.partition_start: partitions[0], protocol.partition_end: partitions[-1]}
    if protocol.partition in flow.parameters:
        if len(partitions) == 1:
            return {protocol.partition: partitions[0]}
        raise Failure(
            f"{flow.name} takes one partition a run, and {len(partitions)} are selected. Use "
            "BackfillPolicy.multi_run(1) for its assets, or give the flow the parameters "
            f"{protocol.partition_start} and {protocol.partition_end}.",
            allow_retries=False,
        )
    raise Failure(
        f"{flow.name} has no parameter that takes a partition: give it {protocol.partition}, or "
        f"{protocol.partition_start} and {protocol.partition_end}.",
        allow_retries=False,
    )


def _tags(
    context: AssetExecutionContext,
    assets: frozenset[AssetKey],
    partitions: tuple[str, ...] | None,
) -> tuple[str, ...]:
    """What Metaflow's run says of Dagster's."""
    tags = [f"dagster_run_id:{context.run.run_id}", f"dagster_job:{context.run.job_name}"]
    names = sorted(key.to_user_string() for key in assets)
    tags += [f"asset:{name}" for name in names[:_MOST_ASSET_TAGS]]
    if partitions:
        last = "" if len(partitions) == 1 else f"..{partitions[-1]}"
        tags.append(f"partition:{partitions[0]}{last}")
    return tuple(tag[:_TAG_LENGTH] for tag in tags)
