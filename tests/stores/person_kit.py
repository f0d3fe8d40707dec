"""A lakehouse that keeps a person in every place there is."""

from __future__ import annotations

import base64
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from registry_kit import UNTIL, files, manifest

from fraud_mlops.claims.quarantine import SCHEMA as QUARANTINED
from fraud_mlops.claims.raw_zone import partition_metadata
from fraud_mlops.claims.schema import raw_schema
from fraud_mlops.contract import Contract
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import atomic_writer, write_bytes
from fraud_mlops.pipeline.metrics import METRICS
from fraud_mlops.pipeline.outputs import OUTPUTS
from fraud_mlops.pipeline.reference import REFERENCE
from fraud_mlops.registry.bundle import bundle_version, write_bundle
from fraud_mlops.registry.pointers import promote, set_challenger
from fraud_mlops.serving.entity_state import publish_entity_state
from fraud_mlops.serving.prediction_log import PredictionLog

DATASET, PERSON = "motor", "P-7"
MONTHS = (1, 2, 3)
ROWS = 40
PEOPLE = 20
"""So that each has two claims a month."""


def contract(folder: Path) -> Contract:
    return Contract.model_validate(
        {
            "name": DATASET, "source": {"uri": f"{folder}/*.csv"}, "claim_id": "claim",
            "event_time": {"column": "day"}, "label": {"column": "fraud", "delay": "30d"},
            "amount": "paid", "entities": {"policyholder": "insured"}, "numeric": ["age"],
            "categorical": ["region", "insured"],
        }
    )  # fmt: skip


def raw_rows(month: int) -> list[dict[str, object]]:
    first = datetime(2024, month, 1, tzinfo=UTC)
    return [
        {
            "claim_id": f"C{month}-{i}", "event_time": first + timedelta(hours=i), "label": 0,
            "label_time": first + timedelta(days=30), "amount": float(100 * month + i),
            "policyholder": f"P-{i % PEOPLE}", "age": float(i), "region": "north",
            "insured": f"P-{i % PEOPLE}",
        }
        for i in range(ROWS)
    ]  # fmt: skip


def write_raw(lake: Lakehouse, made: Contract, month: int) -> None:
    schema = raw_schema(made)
    table = pa.Table.from_pylist(raw_rows(month), schema=schema)
    told = {"run": "IngestFlow/1"} | partition_metadata(made, None)
    lake.write("raw", DATASET, "month", f"2024-{month:02}", table.to_batches(), schema, told)


def write_scores(lake: Lakehouse, month: int, version: str) -> None:
    rows = [
        {"claim_id": r["claim_id"], "event_time": r["event_time"], "score": 0.0,
         "probability": 0.5, "alert": False, "reasons": [], "model_version": version}
        for r in raw_rows(month)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=OUTPUTS)
    told = {"model_version": version}
    lake.write(
        "ml_outputs", DATASET, "month", f"2024-{month:02}", table.to_batches(), OUTPUTS, told
    )


def write_state(lake: Lakehouse, made: Contract) -> None:
    raw = lake.partitions("raw", DATASET)
    publish_entity_state(made, lake, raw, as_of=datetime(2024, 4, 15, tzinfo=UTC), run="Flow/1")


def write_predictions(lake: Lakehouse, folder: Path) -> None:
    """Two files of a day: one of the person only; C9-7 was never ingested, and one has no id."""
    at = int(datetime(2024, 4, 1, tzinfo=UTC).timestamp() * 1e6)
    for ids in (("C1-7", "C1-8", "C9-7", None), ("C1-27",)):
        log = PredictionLog(lake, DATASET, folder)
        log.write([
            (f"r{i}", claim, at, at, "champion", "v", 0.5, 0.6, True, 0.1, "hash", ["age"], None,
             "desk")
            for i, claim in enumerate(ids)
        ])  # fmt: skip
        log.close()


def write_metrics(lake: Lakehouse) -> None:
    """The policyholder is a category too, so that slices are named for people."""
    slices = ("all", f"insured={PERSON}", "insured=P-77")
    rows = [
        {"dataset": DATASET, "partition": "2024-03", "window": "oot", "slice": part,
         "metric": "rows", "value": 2.0, "model_version": "v"}
        for part in slices
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=METRICS)
    lake.write("metrics", DATASET, "month", "2024-03", table.to_batches(), METRICS)


def sample(months: tuple[int, ...] = MONTHS) -> pa.Table:
    """As of a training: columns of raw, features made of them, and no id."""
    rows = [
        {"amount": r["amount"], "age": r["age"], "claims_30d": 1.0, "region": r["region"],
         "score": 0.1}
        for month in months for r in raw_rows(month)
    ]  # fmt: skip
    schema = pa.schema([("amount", pa.float64()), ("age", pa.float64()),
                        ("claims_30d", pa.float32()), ("region", pa.string()),
                        ("score", pa.float64())])  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema)


def write_model(models: str, weights: bytes, *, table: pa.Table | None = None) -> str:
    stream = io.BytesIO()
    pq.write_table(sample() if table is None else table, stream)
    content = {**files(weights), REFERENCE: stream.getvalue()}
    version = bundle_version(content, UNTIL)
    write_bundle(models, DATASET, version, content, manifest(version))
    return version


def fill(root: str, folder: Path) -> tuple[str, str]:
    """Champion and challenger; the person is in two claims of each month."""
    lake, made, models = Lakehouse(root), contract(folder), f"{root}/models"
    champion, challenger = write_model(models, b"a"), write_model(models, b"b")
    promote(models, DATASET, champion, expected=None, by="Flow/1", reason="first")
    set_challenger(models, DATASET, challenger, by="Flow/2", reason="hold")
    for month in MONTHS:
        write_raw(lake, made, month)
        write_scores(lake, month, champion)
    write_state(lake, made)
    write_predictions(lake, folder.parent / "waiting")
    write_metrics(lake)
    features = pa.schema([("claim_id", pa.string())])
    for launch, ids in (("one", ["C1-7", "C1-8"]), ("two", ["C1-8"])):
        table = pa.table([ids], schema=features)
        lake_of = Lakehouse(lake.uri("features", DATASET, launch))
        with atomic_writer(lake_of.uri("train.parquet")) as stream:
            pq.write_table(table, stream)
    _quarantine(lake)
    report = {"messages": [{"sample": [{"claim_id": "C1-7", "note": f"of {PERSON}, P-77"}]}]}
    write_bytes(
        lake.uri("_reports", "F", "one", "motor.raw_zone.json"), json.dumps(report).encode()
    )
    picture = "iVBORw0KGgo" * 9
    page = f"<p class='{PERSON}'>C1-7 and C1-77</p><img src='data:image/png;base64,{picture}'>"
    write_bytes(lake.uri("_reports", "F", "one", "page.html"), page.encode())
    for name, claim in (("theirs", "C1-7"), ("others", "C1-8")):
        content = base64.b64encode(json.dumps({"claim": claim, "text": "x" * 99}).encode()).decode()
        card = f'<script>window.__MF_DATA__["main"] = "{content}"</script>'
        write_bytes(lake.uri("_reports", "F", "one", f"card-{name}.html"), card.encode())
    aside = {"uri": f"{folder}/bad.csv", "path": "bad.csv", "reason": f"no time for {PERSON}"}
    write_bytes(lake.uri("_landing", DATASET, "aside", "1.json"), json.dumps(aside).encode())
    lines = "\n".join(f"c{i},2024-01-01,0,1,P-{i},1,north" for i in range(9))
    (folder / "a.csv").write_text(f"claim,day,fraud,paid,insured,age,region\n{lines}\n")
    return champion, challenger


def _quarantine(lake: Lakehouse) -> None:
    records = [{"claim": "x1", "insured": PERSON}, {"claim": "C1-7", "insured": None},
               {"line": f"a;{PERSON};c"}, {"claim": "x2", "insured": "P-77"}]  # fmt: skip
    rows = [
        {"file": "a.csv", "row": i, "column": None, "value": None, "reason": "bad",
         "record": json.dumps(record)}
        for i, record in enumerate(records)
    ]  # fmt: skip
    for name, found in (("one", rows), ("two", rows[:1])):
        with atomic_writer(lake.uri("quarantine", DATASET, f"{name}.parquet")) as stream:
            pq.write_table(pa.Table.from_pylist(found, schema=QUARANTINED), stream)
