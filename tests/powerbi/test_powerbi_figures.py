"""What the measures amount to: from metrics of claims by way of the warehouse's views, reckoned by
`dax`, which is enough of that language for them."""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from dax import Model
from tmdl import read

from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.sync import sync

sys.path.append(str(Path(__file__).parents[1] / "warehouse"))
from warehouse_kit import Lake, Row, answer, drift, judged, kpis

PROJECT = Path(__file__).parents[2] / "infra" / "powerbi"
TABLES = PROJECT / "FraudMetrics.SemanticModel" / "definition" / "tables"
OBJECTS = [table for path in sorted(TABLES.glob("*.tmdl")) for table in read(path)]
MEASURES = {
    name: measure.value for table in OBJECTS for name, measure in table.all("measure").items()
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Two datasets in the warehouse, as Power BI imports them from its views.

    motor: a month that its model has learnt from, and two after it, of which the last has false
    alarms only. parcels: one month.
    """
    lake = Lake(tmp_path_factory.mktemp("figures"))
    known = but(kpis(400, 40, 20, 20), average_precision=0.9, value_detected=0.9)
    learnt = [("in_sample", *row[1:]) for row in known]
    lake.put("2024-03", [*learnt, *judged("oot", 0.7, 0.6, 0.8)])
    lake.put("2024-04", [*but(kpis(100, 10, 8, 4), average_precision=0.5), *drift(0.15, 0)])
    moved = but(drift(0.3, 2), classifier_auc=0.7, missing_current=0.25)
    false_alarms = but(kpis(200, 20, 10, 0), average_precision=0.8, value_detected=0.0)
    enough = [("after_oot", "all", f"{n}_frauds", 20.0, None, None) for n in ("labelled", "needed")]
    since = [*judged("after_oot", 0.5, 0.4, 0.55), *enough]
    lake.put("2024-05", [*false_alarms, *moved, *since])
    both = [*judged("oot", 0.9, 0.8, 1.0), *judged("after_oot", 0.8, 0.7, 0.9)]
    parcels = but(kpis(300, 30, 12, 6), labelled=120.0)
    lake.put("2024-04", [*parcels, *both], dataset="parcels")
    warehouse = DuckDBWarehouse(lake.root / "w.duckdb", Tables())
    for dataset in ("motor", "parcels"):
        sync(lake.lakehouse, warehouse, dataset)
    return imported(warehouse)


def but(rows: list[Row], **values: float) -> list[Row]:
    return [(*row[:3], values.get(row[2], row[3]), *row[4:]) for row in rows]


def imported(warehouse: DuckDBWarehouse) -> Model:
    found = {}
    for table in OBJECTS:
        source = next(iter(table.all("partition").values())).properties["source"]
        if view := re.search(r'Name = "(\w+)", Kind = "View"', source):
            columns = {c.name: c.properties["sourceColumn"] for c in table.all("column").values()}
            rows = answer(warehouse, f"SELECT {', '.join(columns.values())} FROM {view[1]}")
            found[table.name] = [dict(zip(columns, row, strict=True)) for row in rows]
    periods = found["Daily KPIs"]
    first, end = min(r["Period start"] for r in periods), max(r["Period end"] for r in periods)
    found["Date"] = [{"Date": first + timedelta(days=n)} for n in range((end - first).days)]
    return Model(found, MEASURES)


FIGURES = {
    "Claims": 400 + 100 + 200 + 300,
    "Alerts": 40 + 10 + 20 + 30,
    "Labelled claims": 200 + 50 + 100 + 120,
    "Frauds": 20 + 8 + 10 + 12,
    "Alert share": 100 / 1000,
    "Labelled share": 470 / 1000,
    "Fraud rate": (20 + 8 + 10) / (200 + 50 + 100),  # of periods whose labels are mostly known
    # From here on without the month that was learnt from.
    "Frauds caught": 4 + 0 + 6,
    "Alerts with a label": 10 + 20 + 30,
    "Precision of alerts": 10 / 60,
    "Recall of alerts": 10 / (8 + 10 + 12),
    "Average precision": (0.5 * 8 + 0.8 * 10 + 2 / 3 * 12) / (8 + 10 + 12),
    "Value detected": (0.3 + 0.0 + 0.3) / 3,
    "Alerts per day": 100 / (31 + 30 + 31),  # April is one month's work for both datasets
    "Value out of time": (0.7 + 0.9) / 2,
    "Value since": (0.5 + 0.8) / 2,
    "Change since": (0.5 + 0.8) / 2 - (0.7 + 0.9) / 2,
    "Decayed metrics": 1,
    "Highest PSI": 0.3,
    "Drifted features": 1,
    "Classifier AUC": 0.7,
    "Highest missing share": 0.25,
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_measure_amounts_to_what_the_claims_say(model: Model, name: str) -> None:
    assert model.measure(name) == pytest.approx(FIGURES[name])


def test_no_measure_is_left_unmeasured(model: Model) -> None:
    assert {*MEASURES} - {*FIGURES} == {"Claims in stage", "Last sync"}
    assert model.measure("Last sync") == max(r["Synced at"] for r in model.tables["Daily KPIs"])


def test_what_a_slicer_chooses_is_counted_alone(model: Model) -> None:
    motor = {"Daily KPIs": {"Dataset": "motor"}}
    assert model.measure("Alerts", **motor) == 70
    assert model.measure("Precision of alerts", **motor) == pytest.approx(4 / 30)
    assert model.measure("Alerts per day", **motor) == pytest.approx(70 / 92)
    learnt = {"Daily KPIs": {"Partition": "2024-03"}}
    assert model.measure("Claims", **learnt) == 400
    for name in ("Precision of alerts", "Average precision", "Value detected"):
        assert model.measure(name, **learnt) is None, "a model is not judged on what it has learnt"


def test_the_funnel_is_out_of_sample_too(model: Model) -> None:
    stages = ("claims scored", "alerts", "alerts with a label", "frauds caught")
    found = [model.measure("Claims in stage", **{"Alert funnel": {"Stage": s}}) for s in stages]
    assert found == [100 + 200 + 300, 10 + 20 + 30, 60, 10]


def test_what_an_older_version_did_not_say_is_no_figure(model: Model) -> None:
    """How many alerts have a label is not known: none was a fraud, and labels are missing."""
    periods = [
        row | ({"Labelled alerts in period": None} if row["Partition"] == "2024-05" else {})
        for row in model.tables["Daily KPIs"]
    ]
    older = Model({**model.tables, "Daily KPIs": periods}, MEASURES)
    assert older.measure("Precision of alerts") is None
    parcels = {"Daily KPIs": {"Dataset": "parcels"}}
    assert older.measure("Precision of alerts", **parcels) == pytest.approx(6 / 30)


def test_the_report_says_where_it_is_out_of_sample() -> None:
    pages = PROJECT / "FraudMetrics.Report" / "definition" / "pages"
    for visual in ("overview/visuals/performance", "funnel/visuals/funnel_all"):
        shown = json.loads((pages / visual / "visual.json").read_text())["visual"]
        [title] = shown["visualContainerObjects"]["title"]
        assert "out of sample" in title["properties"]["text"]["expr"]["Literal"]["Value"]
