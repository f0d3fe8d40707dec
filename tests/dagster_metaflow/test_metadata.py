"""Metadata of a report, as Dagster's pages show it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_metaflow.events import Made, total_rows
from dagster_metaflow.metadata import MOST_PLOT_BYTES, typed_metadata
from dagster_metaflow.reports import Materialization, read_reports, write_report

PIXEL = b"\x89PNG\r\n\x1a\n"


def shown(**entries: Any) -> dict[str, dg.MetadataValue]:
    return typed_metadata(
        {name: {"raw_value": value, "type": "__infer__"} for name, value in entries.items()}
    )


def test_a_row_count_and_an_address_are_dagsters_own() -> None:
    found = shown(rows=20_000, uri="s3://lake/raw/part-0.parquet")
    assert found["dagster/row_count"] == dg.MetadataValue.int(20_000)
    assert found["dagster/uri"] == dg.MetadataValue.text("s3://lake/raw/part-0.parquet")


def test_columns_become_a_schema_with_types() -> None:
    schema = shown(schema={"claim_id": "string", "amount": "double"})["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchemaMetadataValue)
    assert [(c.name, c.type) for c in schema.schema.columns] == [
        ("claim_id", "string"),
        ("amount", "double"),
    ]


def test_numbers_stay_numbers_so_that_dagster_plots_them() -> None:
    found = shown(auc=0.75, promoted=True, epochs=12, note="kept", layers=[64, 32], nothing=None)
    assert found == {
        "auc": dg.MetadataValue.float(0.75),
        "promoted": dg.MetadataValue.bool(True),
        "epochs": dg.MetadataValue.int(12),
        "note": dg.MetadataValue.text("kept"),
        "layers": dg.MetadataValue.json([64, 32]),
        "nothing": dg.MetadataValue.null(),
    }


def test_a_sample_is_a_table() -> None:
    table = shown(sample=[{"id": "a", "amount": 1}, {"id": "b", "amount": 2.5}])["sample"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [(c.name, c.type) for c in table.schema.columns] == [
        ("id", "string"),
        ("amount", "float"),
    ]


def test_rows_of_a_sample_may_lack_columns() -> None:
    table = shown(sample=[{"id": "a"}, {"amount": 2, "tags": ["x", "y"]}])["sample"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [dict(record.data) for record in table.records] == [
        {"id": "a", "amount": None, "tags": None},
        {"id": None, "amount": 2, "tags": "x, y"},
    ]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("url", "https://x.test/run", dg.MetadataValue.url("https://x.test/run")),
        ("path", "/lake/x", dg.MetadataValue.path("/lake/x")),
        ("md", "# title", dg.MetadataValue.md("# title")),
        ("float", 3, dg.MetadataValue.float(3.0)),
        ("timestamp", 1e9, dg.MetadataValue.timestamp(1e9)),
        ("asset", "raw/claims", dg.MetadataValue.asset(dg.AssetKey(["raw", "claims"]))),
        ("dagster_run", "0a", dg.MetadataValue.dagster_run("0a")),
        ("of_a_later_version", {"a": 1}, dg.MetadataValue.json({"a": 1})),
    ],
)
def test_types_of_pipes(kind: str, value: Any, expected: dg.MetadataValue) -> None:
    assert typed_metadata({"x": {"raw_value": value, "type": kind}}) == {"x": expected}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"rows": "many"}, dg.MetadataValue.text("many")),
        ({"rows": True}, dg.MetadataValue.bool(True)),
        ({"schema": ["a", "b"]}, dg.MetadataValue.json(["a", "b"])),
        ({"sample": "a,b"}, dg.MetadataValue.text("a,b")),
        ({"plots": "roc.png"}, dg.MetadataValue.text("roc.png")),
        ({"cards": ["oot"]}, dg.MetadataValue.json(["oot"])),
    ],
)
def test_what_is_not_as_its_name_says_is_shown_as_what_it_is(
    entry: dict[str, Any], expected: dg.MetadataValue
) -> None:
    assert list(shown(**entry).values()) == [expected]


def test_a_plot_is_shown_as_a_picture(tmp_path: Path) -> None:
    (tmp_path / "roc.png").write_bytes(PIXEL)
    [(name, plot)] = shown(plots={"ROC [OOT]": f"{tmp_path}/roc.png"}).items()
    assert name == "plot: ROC [OOT]"
    assert plot == dg.MetadataValue.md("![ROC  OOT ](data:image/png;base64,iVBORw0KGgo=)")


@pytest.mark.parametrize("content", [None, b"0" * (MOST_PLOT_BYTES + 1)])
def test_a_plot_that_is_too_large_or_gone_is_shown_by_its_address(
    tmp_path: Path, content: bytes | None
) -> None:
    uri = f"{tmp_path}/roc.png"
    if content is not None:
        Path(uri).write_bytes(content)
    assert shown(plots={"roc": uri}) == {"plot: roc": dg.MetadataValue.path(uri)}


def test_a_plot_in_a_store_that_cannot_be_opened_is_shown_by_its_address() -> None:
    uri = "nowhere://bucket/roc.png"
    assert shown(plots={"roc": uri}) == {"plot: roc": dg.MetadataValue.path(uri)}


def test_cards_are_named_one_by_one() -> None:
    assert shown(cards={"oot": "TrainingFlow/17/validate/4"}) == {
        "card: oot": dg.MetadataValue.text("TrainingFlow/17/validate/4")
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["rows", "schema", "sample", "uri", "cards", "plots", "other"])
types = st.sampled_from(["text", "int", "float", "bool", "json", "md", "url", "asset", "later"])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, st.tuples(json_values, types)))
def test_no_value_of_a_report_is_too_odd_to_be_shown(entries: dict[str, Any]) -> None:
    found = typed_metadata({n: {"raw_value": v, "type": t} for n, (v, t) in entries.items()})
    event = dg.AssetMaterialization("x", metadata=found)
    assert dg.deserialize_value(dg.serialize_value(event), dg.AssetMaterialization) == event


def test_what_a_flow_reports_is_what_dagster_shows(tmp_path: Path) -> None:
    facts = {"rows": 3, "auc": 0.5, "params": {"lr": 0.1}, "ok": True}
    made = [Materialization(data_version="v", metadata=facts)]
    write_report(str(tmp_path), "Flow", "launch", ["x"], made, run="Flow/1/start/1")
    [report] = read_reports(str(tmp_path), "Flow", "launch")
    found = typed_metadata(report.messages[0]["params"]["metadata"])
    assert json.loads(json.dumps({name: value.value for name, value in found.items()})) == {
        "dagster/row_count": 3,
        "auc": 0.5,
        "params": {"lr": 0.1},
        "ok": True,
    }


def test_rows_of_a_whole_are_told_only_where_each_part_says_its_own() -> None:
    five = {"dagster/row_count": dg.MetadataValue.int(5)}
    assert total_rows([Made("a", "v1", five), Made("b", "v1", five)]) == 10
    assert total_rows([Made("a", "v1", five), Made("b", "v1", {})]) is None
    assert total_rows([]) is None
