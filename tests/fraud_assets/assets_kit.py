"""Small datasets, and a Dagster that nobody else uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import dagster as dg
import pyarrow as pa

from fraud_assets.alerts import Alert
from fraud_assets.dataset import Dataset, datasets
from fraud_assets.definitions import definitions
from fraud_assets.run_requests import RANGE_END, RANGE_START
from fraud_assets.stores import Stores
from fraud_mlops.landing.aside import SetAside, files_aside

GENERATED = """\
name: small_claims
source:
  {kind: synthetic, claims: 6000, seed: 7, start: 2024-01-01, end: 2025-01-01, fraud_rate: 0.08}
claim_id: claim_id
event_time: {column: event_time}
label: {column: label, time_column: label_time, delay: 30d}
amount: amount
entities: {policyholder: policyholder, provider: provider}
numeric: [policy_age_days, vehicle_age_years, driver_age, report_delay_hours, amount_to_guide]
categorical: [peril, region, channel]
windows: [7, 30]
partition: month
split:
  train: {start: 2024-01-01, end: 2024-06-01}
  validation: {start: 2024-07-01, end: 2024-08-01}
  oot: {start: 2024-09-01, end: 2024-11-01}
"""

LANDED = """\
name: parcels
source: {uri: "landing/*.csv"}
claim_id: claim
event_time: {column: day}
label: {column: fraud, delay: 30d}
amount: amount
entities: {garage: garage}
numeric: []
categorical: []
windows: [7, 30]
partition: month
"""

CANDIDATES = """\
- {name: line, family: logistic, seed: 2, params: {epochs: 4}}
"""

MONTHS = [f"2024-{month:02}" for month in range(1, 13)]
HEADER = "claim,day,fraud,amount,garage\n"
SCORED = pa.schema([pa.field("claim_id", pa.string())])
EMPTY: Mapping[str, str] = MappingProxyType({})
DATA_VERSION = {"dagster/data_version_is_user_provided": "true"}


def rows(*days: str, start: int = 0, fraud: str = "0") -> str:
    """A landed file."""
    lines = (f"c{i},{day},{fraud},10,g{i % 2}\n" for i, day in enumerate(days, start))
    return HEADER + "".join(lines)


@dataclass
class Place:
    """A folder with contracts, a landing zone and a lakehouse, and a Dagster instance."""

    folder: Path
    contracts: Sequence[str]
    instance: dg.DagsterInstance
    stores: Stores = field(init=False)

    def __post_init__(self) -> None:
        self.stores = Stores(lakehouse_uri=str(self.folder / "lake"))
        self.landing.mkdir(exist_ok=True)

    @property
    def landing(self) -> Path:
        return self.folder / "landing"

    @cached_property
    def datasets(self) -> list[Dataset]:
        files = []
        for number, text in enumerate(self.contracts):
            path = self.folder / f"contract{number}.yaml"
            path.write_text(text, encoding="utf-8")
            files.append(str(path))
        return datasets(",".join(files))

    @property
    def dataset(self) -> Dataset:
        return self.datasets[0]

    @cached_property
    def defs(self) -> dg.Definitions:
        return definitions(self.datasets, self.stores)

    def run(
        self,
        job: str,
        *partitions: str,
        config: dict[str, Any] | None = None,
        good: bool | None = True,
    ) -> dg.ExecuteInProcessResult:
        """Executes a job for one partition, for a range (first, last), or for none.

        good: how it is to end; None where that is not what is asked.
        """
        tags = {}
        if len(partitions) == 2:
            tags = {RANGE_START: partitions[0], RANGE_END: partitions[1]}
        result = self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=partitions[0] if len(partitions) == 1 else None,
            tags=tags,
            run_config={"ops": config or {}},
            raise_on_error=False,
        )
        assert good is None or result.success == good
        return result

    def tick(self, name: str, cursor: str | None = None) -> Any:
        """One evaluation of a sensor, as the daemon makes it."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=cursor,
            definitions=self.defs,
            resources={"stores": self.stores},
        )
        return self.defs.resolve_sensor_def(name).evaluate_tick(context)

    def aside(self) -> list[SetAside]:
        """Landed files that are not read as long as they stay as they are."""
        return files_aside(self.stores.lakehouse, self.dataset.name)

    def alerts(self) -> list[Alert]:
        """Those that were raised, in order of their day and name."""
        files = sorted((self.folder / "lake" / "_alerts").glob("*/*.json"))
        return [Alert.model_validate_json(file.read_bytes()) for file in files]

    def report(
        self, asset: str, version: str, *partitions: str | None, tags: Mapping[str, str] = EMPTY
    ) -> None:
        """A materialization as if a run had reported it. tags: more that it carries."""
        tags = {"dagster/data_version": version, **DATA_VERSION, **tags}
        for partition in partitions or (None,):
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(self.dataset.key(asset), partition=partition, tags=tags)
            )

    def put(self, zone: str, partition: str, *claims: str) -> None:
        """A partition of a zone with these claims."""
        batch = pa.record_batch([pa.array(claims, pa.string())], schema=SCORED)
        self.stores.lakehouse.write(
            zone, self.dataset.name, self.dataset.contract.partition, partition, [batch], SCORED
        )


def asked(ticked: Any) -> list[str]:
    """`2024-01`, or `2024-01..2024-03`, of each run that was asked for."""
    found = []
    for request in ticked.run_requests or []:
        assert request.job_name == "ingest_job"
        tags = request.tags
        first = request.partition_key or tags["dagster/asset_partition_range_start"]
        last = request.partition_key or tags["dagster/asset_partition_range_end"]
        found.append(first if first == last else f"{first}..{last}")
    return found


@dataclass
class Automation:
    """The automation sensor, as the daemon evaluates it time after time; now: the real time."""

    place: Place
    cursor: Any = None
    now: datetime | None = None

    def tick(self) -> list[str]:
        """Partitions to be scored; those to be measured are always the same."""
        keys = self.place.dataset.keys("ml_outputs", "metrics")
        ticked = dg.evaluate_automation_conditions(
            defs=self.place.defs,
            instance=self.place.instance,
            cursor=self.cursor,
            evaluation_time=self.now,
            asset_selection=dg.AssetSelection.assets(*keys),
        )
        self.cursor = ticked.cursor
        found = [sorted(ticked.get_requested_partitions(key) or []) for key in keys]
        assert found[0] == found[1]
        return [str(partition) for partition in found[0]]

    def scored(self, *partitions: str) -> None:
        for asset in ("ml_outputs", "metrics"):
            self.place.report(asset, "s", *partitions)
        assert self.tick() == []
