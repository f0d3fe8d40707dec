"""What the benchmarks of serving serve: the champion of a lakehouse."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.registry.pointers import read_pointer
from fraud_mlops.serving import loading
from fraud_mlops.serving.entity_state import read_entity_state
from fraud_mlops.serving.histories import EntityHistories
from fraud_mlops.serving.scorer import Scorer

ROOT = Path(__file__).parent.parent
GENERATED = "synthetic_claims"


@dataclass(frozen=True)
class Champion:
    """Of a dataset of a lakehouse."""

    lake: Path
    dataset: str

    def scorer(self) -> Scorer:
        models = str(self.lake / "models")
        pointer = read_pointer(models, self.dataset, "champion")
        assert pointer is not None, f"{models} has no champion of {self.dataset}"
        loaded = loading.load_model(models, self.dataset, pointer.version)
        state = read_entity_state(loaded.contract, Lakehouse(str(self.lake)))
        return loading.scorer_of(loaded, EntityHistories(loaded.contract, state))

    def raw_claims(self) -> pa.Table:
        lakehouse = Lakehouse(str(self.lake))
        table = lakehouse.read(lakehouse.partitions("raw", self.dataset)[-1:])
        return table.drop_columns(["label", "label_time"])

    def some_claim(self) -> dict[str, Any]:
        table = self.raw_claims()
        (row,) = table.slice(table.num_rows // 2, 1).to_pylist()
        return {
            k: v.isoformat() if k == "event_time" else v for k, v in row.items() if v is not None
        }


def trained(folder: Path, claims: int) -> Path:
    """A lakehouse with a champion and scores, made by the whole flow."""
    lake = folder / "lake"
    command = [sys.executable, "flows/fraud_detection_flow.py", "run"]
    command += ["--sample-size", str(claims), "--output-uri", str(lake)]
    environment = {**os.environ, "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder)}
    print("training a champion")
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    return lake
