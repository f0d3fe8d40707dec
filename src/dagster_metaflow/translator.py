"""How flows and their assets look in Dagster; override a method to have it your way."""

from __future__ import annotations

from dagster import AssetKey, AssetSpec, MetadataValue

from dagster_metaflow.flow import MetaflowFlow


class MetaflowTranslator:
    """Names, groups and words for assets that flows publish."""

    def get_asset_key(self, flow: MetaflowFlow, name: str) -> AssetKey:  # noqa: ARG002
        return AssetKey([name])

    def get_group_name(self, flow: MetaflowFlow) -> str | None:  # noqa: ARG002
        return None

    def get_description(self, flow: MetaflowFlow, name: str) -> str:  # noqa: ARG002
        """The flow's docstring, and its steps."""
        steps = " → ".join(flow.steps)
        return f"{flow.description.description}\n\n{flow.name}: {steps}".strip()

    def get_asset_spec(self, flow: MetaflowFlow, asset: str | AssetSpec) -> AssetSpec:
        """A whole spec from a name; what a given spec leaves open is filled in."""
        name = asset if isinstance(asset, str) else asset.key.path[-1]
        spec = (
            AssetSpec(self.get_asset_key(flow, asset), group_name=self.get_group_name(flow))
            if isinstance(asset, str)
            else asset
        )
        return spec.replace_attributes(
            description=spec.description or self.get_description(flow, name),
            code_version=spec.code_version or flow.code_version,
            kinds={*spec.kinds, "metaflow"},
        ).merge_attributes(
            metadata={"flow": flow.name, "flow_file": MetadataValue.path(str(flow.path))}
        )
