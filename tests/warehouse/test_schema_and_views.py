"""infra/snowflake/schema.sql, on both engines: it runs, and its views say what is in the zone."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest
from snow_proxy import Proxy
from warehouse_kit import (
    DATASET,
    LATER_MODEL,
    MODEL,
    MONTHS,
    Lake,
    answer,
    judged,
    kpis,
    run_schema,
    snowflake_options,
    table_of,
    zone_of,
)

from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.names import ABOUT, VIEWS, Tables
from fraud_mlops.warehouse.options import SnowflakeOptions
from fraud_mlops.warehouse.schema import (
    for_snowflake,
    schema_text,
    statements,
)
from fraud_mlops.warehouse.snowflake_engine import SnowflakeWarehouse
from fraud_mlops.warehouse.sync import sync


def test_tables_and_views_run_as_they_are_and_again_and_no_row_is_lost(
    lake: Lake, snow: Proxy
) -> None:
    options = snowflake_options(snow.port, database="FRAUD")
    assert for_snowflake(options) == schema_text()
    made = run_schema(options)
    assert len(made) == len(statements(schema_text())) > 20
    warehouse = SnowflakeWarehouse(options)
    sync(lake.lakehouse, warehouse, DATASET)
    run_schema(options)
    assert table_of(warehouse) == zone_of(lake)
    assert sync(lake.lakehouse, warehouse, DATASET).rows_moved == 0


def test_it_bears_the_names_of_the_settings(lake: Lake, snow: Proxy) -> None:
    options = snowflake_options(
        snow.port, schema="BI", warehouse="SMALL", role="WRITER", tables=Tables("bi_metrics")
    )
    text = "\n".join(statements(for_snowflake(options)))
    own = {
        options.database,
        "BI",
        "SMALL",
        "WRITER",
        "BI_METRICS",
        "BI_METRICS_SYNC",
        "BI_METRICS_LOCK",
    }
    words = set(re.findall(r"\w+", text))
    assert own <= words
    defaults = {"FRAUD", "METRICS", "FRAUD_WH", "FRAUD_LOADER", "FRAUD_MODEL_METRICS"}
    assert not words & (defaults | {"FRAUD_MODEL_METRICS_SYNC", "FRAUD_MODEL_METRICS_LOCK"})
    run_schema(options)
    sync(lake.lakehouse, SnowflakeWarehouse(options), DATASET)
    assert table_of(SnowflakeWarehouse(options)) == zone_of(lake)


OTHERS = {
    "SELECT 'FRAUD_MODEL_METRICS' AS TABLE_NAME, 'older' AS SCHEMA_VERSION":
        "the views for BI are of another version than this sync; as a role that may, run",
    "SELECT 'OTHERS' AS TABLE_NAME, 'older' AS SCHEMA_VERSION":
        "the views for BI here show the table OTHERS, and nothing of FRAUD_MODEL_METRICS",
    None: "the views for BI are older than this version",
}  # fmt: skip


def test_views_that_an_administrator_has_yet_to_make_anew_are_told(lake: Lake, snow: Proxy) -> None:
    options = snowflake_options(snow.port)
    run_schema(options)
    warehouse = SnowflakeWarehouse(options)
    assert sync(lake.lakehouse, warehouse, DATASET).views is None
    for says, told in OTHERS.items():
        made = f"CREATE OR REPLACE VIEW {ABOUT} AS {says}" if says else f"DROP VIEW {ABOUT}"
        answer(warehouse, made)
        assert (sync(lake.lakehouse, warehouse, DATASET).views or "").startswith(told)
    run_schema(options)
    assert sync(lake.lakehouse, warehouse, DATASET).views is None


@pytest.fixture
def filled(lake: Lake, warehouse: Warehouse) -> Warehouse:
    sync(lake.lakehouse, warehouse, DATASET)
    return warehouse


def columns(rows: list[tuple[object, ...]], *numbers: int) -> list[tuple[object, ...]]:
    return [tuple(row[i] for i in numbers) for row in rows]


def test_kpis_are_a_row_a_partition(filled: Warehouse) -> None:
    found = answer(
        filled,
        "SELECT PARTITION_KEY, PERIOD_START, MODEL_VERSION, IN_SAMPLE, CLAIMS, LABELLED, FRAUDS, "
        "ALERTS, ALERT_SHARE, FRAUD_RATE, PRECISION_OF_ALERTS, VALUE_DETECTED, AVERAGE_PRECISION, "
        "CLAIMS_PER_DAY, ALERTS_PER_DAY FROM BI_DAILY_KPIS ORDER BY PARTITION_KEY",
    )
    assert columns(found, *range(8)) == [
        (MONTHS[0], date(2024, 4, 1), MODEL, False, 100, 50, 8, 10),
        (MONTHS[1], date(2024, 5, 1), MODEL, False, 200, 100, 10, 20),
        (MONTHS[2], date(2024, 6, 1), LATER_MODEL, False, 300, 150, 12, 30),
    ]
    april = found[0]
    assert april[8:13] == (0.1, 8 / 50, 0.4, 0.1 + 0.2, 2 / 3)
    assert april[13:] == pytest.approx((100 / 30, 10 / 30))


def test_models_are_held_against_what_they_promised(filled: Warehouse) -> None:
    found = answer(
        filled,
        "SELECT MODEL_VERSION, METRIC, OOT_VALUE, LATER_VALUE, CHANGE_SINCE_OOT, VERDICT, "
        "FIRST_SCORED, LAST_SCORED, IS_CURRENT FROM BI_MODEL_COMPARISON",
    )
    [(model, metric, promised, kept, change, *rest)] = found
    assert (model, metric, promised, kept) == (MODEL, "average_precision", 0.7, 0.5)
    assert change == pytest.approx(-0.2)
    # Written by a version that did not count the frauds that it judges by.
    assert rest == ["not judged", date(2024, 4, 1), date(2024, 5, 1), False]


@pytest.mark.parametrize(("frauds", "verdict"), [(29, "not judged"), (30, "decayed")])
def test_a_model_is_not_said_to_have_decayed_on_fewer_frauds_than_the_contract_asks_for(
    lake: Lake, warehouse: Warehouse, frauds: float, verdict: str
) -> None:
    counts = {"labelled_frauds": frauds, "needed_frauds": 30}
    told = [("after_oot", "all", name, float(n), None, None) for name, n in counts.items()]
    lake.put(MONTHS[1], [*kpis(200, 20, 10, 5), *judged("after_oot", 0.5, 0.4, 0.55), *told])
    sync(lake.lakehouse, warehouse, DATASET)
    found = answer(warehouse, "SELECT METRIC, VERDICT FROM BI_MODEL_COMPARISON")
    assert found == [("average_precision", verdict)]


def test_drift_has_the_pipelines_own_verdict_and_the_figures_of_its_window(
    filled: Warehouse,
) -> None:
    """May and June have one PSI: what it means, claims and contract decide, and no view."""
    found = answer(
        filled,
        "SELECT PARTITION_KEY, DRIFT_WINDOW, PSI, PSI_NOISE, MISSING_CURRENT, VERDICT, "
        "WINDOW_VERDICT, PSI_WARN, PSI_ALERT, CLASSIFIER_AUC, DRIFTED_SHARE FROM BI_DRIFT "
        "WHERE FEATURE = 'amount' ORDER BY 1",
    )
    unknown, limits, window = "not judged", (0.2, 0.5), (0.61, 0.25)
    assert found == [
        (MONTHS[0], "partition", 0.15, None, 0.0, unknown, unknown, None, None, *window),
        (MONTHS[1], "partition", 0.3, 0.02, 0.0, "stable", "stable", *limits, *window),
        (MONTHS[2], "partition", 0.3, 0.02, 0.0, "drift", "drift", *limits, *window),
    ]


def test_the_funnel_narrows_from_claims_to_frauds_caught(filled: Warehouse) -> None:
    found = answer(
        filled,
        "SELECT PARTITION_KEY, STAGE_NUMBER, STAGE, CLAIMS FROM BI_ALERT_FUNNEL ORDER BY 1, 2",
    )
    assert found[:4] == [
        (MONTHS[0], 1, "claims scored", 100),
        (MONTHS[0], 2, "alerts", 10),
        (MONTHS[0], 3, "alerts with a label", 10),
        (MONTHS[0], 4, "frauds caught", 4),
    ]
    assert len(found) == 4 * len(MONTHS)


FUNNEL = "SELECT CLAIMS FROM BI_ALERT_FUNNEL ORDER BY PERIOD_START, STAGE_NUMBER"


def test_false_alarms_of_a_period_without_a_fraud_caught_count(
    lake: Lake, warehouse: Warehouse
) -> None:
    for month in range(1, 11):
        lake.put(f"2023-{month:02}", kpis(100, 2, 8, 1 if month == 1 else 0))
    sync(lake.lakehouse, warehouse, DATASET, partitions=[f"2023-{m:02}" for m in range(1, 11)])
    assert answer(
        warehouse, "SELECT SUM(FRAUDS_CAUGHT), SUM(LABELLED_ALERTS) FROM BI_DAILY_KPIS"
    ) == [(1, 20)]
    assert answer(warehouse, FUNNEL)[:8] == [(100,), (2,), (2,), (1,), (100,), (2,), (2,), (0,)]


OLDER = {
    "some were frauds": ({"precision_of_alerts": 0.4, "recall_of_alerts": 0.5}, 10),
    "none was a fraud": ({"precision_of_alerts": 0.0, "recall_of_alerts": 0.0}, None),
    "none, and all claims are labelled": (
        {"labelled": 100, "precision_of_alerts": 0.0, "recall_of_alerts": 0.0},
        12,
    ),
    "none has a label": ({"recall_of_alerts": 0.0}, 0),
}


@pytest.mark.parametrize("alerts", OLDER)
def test_metrics_of_an_older_version_say_how_many_alerts_have_a_label_where_that_is_known(
    lake: Lake, warehouse: Warehouse, alerts: str
) -> None:
    told, labelled = OLDER[alerts]
    counts = {"rows": 100, "labelled": 50, "frauds": 8, "alerts": 12}
    rows = [("partition", "all", name, float(n), None, None) for name, n in (counts | told).items()]
    lake.put(MONTHS[0], rows)
    sync(lake.lakehouse, warehouse, DATASET, partitions=[MONTHS[0]])
    assert answer(warehouse, "SELECT LABELLED_ALERTS FROM BI_DAILY_KPIS") == [(labelled,)]
    assert answer(warehouse, FUNNEL)[2] == (labelled,)


def test_labels_that_are_not_there_yet_are_nothing_and_not_zero(
    lake: Lake, warehouse: Warehouse
) -> None:
    lake.put(
        MONTHS[0],
        [
            ("partition", "all", name, value, None, None)
            for name, value in {"rows": 50.0, "labelled": 0.0, "frauds": 0.0, "alerts": 5.0}.items()
        ],
    )
    sync(lake.lakehouse, warehouse, DATASET, partitions=[MONTHS[0]])
    assert answer(
        warehouse, "SELECT FRAUD_RATE, PRECISION_OF_ALERTS, LABELLED_SHARE FROM BI_DAILY_KPIS"
    ) == [(None, None, 0.0)]
    stages = answer(warehouse, "SELECT CLAIMS FROM BI_ALERT_FUNNEL ORDER BY STAGE_NUMBER")
    assert stages == [(50,), (5,), (0,), (0,)]


def test_both_engines_answer_alike(lake: Lake, options: SnowflakeOptions, tmp_path: Path) -> None:
    both = SnowflakeWarehouse(options), DuckDBWarehouse(tmp_path / "both.duckdb", Tables())
    for warehouse in both:
        sync(lake.lakehouse, warehouse, DATASET)
    for view in VIEWS:
        snowflake, duckdb = (_without_time(warehouse, view) for warehouse in both)
        assert snowflake == duckdb, view
        assert snowflake


def _without_time(warehouse: Warehouse, view: str) -> list[tuple[object, ...]]:
    """Rows of a view but for when they were synced, which differs."""
    with warehouse.session() as session:
        names = sorted(session.columns(view).keys() - {"SYNCED_AT"})
        listed = ", ".join(f'"{name}"' for name in names)
        return sorted(session.execute(f"SELECT {listed} FROM {view}"), key=repr)
