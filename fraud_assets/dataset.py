"""The datasets of this code location: contracts, and how Dagster calls what comes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dagster import AssetKey, TimeWindowPartitionsDefinition

from fraud_assets.partitions import partitions_of
from fraud_mlops import catalog
from fraud_mlops.contract import Contract
from fraud_mlops.errors import SettingsError
from fraud_mlops.settings import settings
from fraud_mlops.sources import FileSource

RAW_ZONE, MODEL_ARTIFACT = "raw_zone", "model_artifact"
ML_OUTPUTS, METRICS = "ml_outputs", "metrics"
LANDING, SERVED_MODEL = "landing", "served_model"
PREDICTION_LOG = "prediction_log"
SNOWFLAKE_METRICS, SEMANTIC_MODEL = "snowflake_metrics", "semantic_model"


@dataclass(frozen=True)
class Dataset:
    """file: the contract's YAML, which flows are given. first: its jobs bear plain names."""

    contract: Contract
    file: Path
    first: bool = True

    @property
    def name(self) -> str:
        return self.contract.name

    @cached_property
    def partitions(self) -> TimeWindowPartitionsDefinition:
        return partitions_of(self.contract)

    @property
    def lands(self) -> bool:
        """Claims come in files, rather than from the generator."""
        return isinstance(self.contract.source, FileSource)

    @property
    def is_live(self) -> bool:
        """New claims are to be expected: its partitions have no end."""
        return self.partitions.end is None

    def key(self, asset: str) -> AssetKey:
        return AssetKey([self.name, asset])

    def keys(self, *assets: str) -> list[AssetKey]:
        return [self.key(asset) for asset in assets]

    def titled(self, name: str) -> str:
        """Name of a job, sensor or schedule: plain for the first dataset."""
        return name if self.first else f"{self.name}__{name}"


def datasets(given: str | None = None) -> list[Dataset]:
    """Those of FRAUD_DATASETS, or of a comma-separated list of names and paths like it.

    Raises ContractError for one that cannot be read, SettingsError for none and for two that
    bear one name.
    """
    named = settings().datasets if given is None else given
    names = [name.strip() for name in named.split(",") if name.strip()]
    if not names:
        raise SettingsError("FRAUD_DATASETS names no dataset; give one, or unset it")
    found = [
        Dataset(catalog.load(name), catalog.find(name), first=not i) for i, name in enumerate(names)
    ]
    _require_different(found)
    return found


def _require_different(found: Iterable[Dataset]) -> None:
    files: dict[str, Path] = {}
    for dataset in found:
        if dataset.name in files:
            raise SettingsError(
                f"FRAUD_DATASETS: {files[dataset.name]} and {dataset.file} are both called "
                f"{dataset.name}; each name makes its own assets, so leave one out or rename it"
            )
        files[dataset.name] = dataset.file
