"""The Power BI project fits together: views, model, measures, report."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tmdl import Object, column_of, mistakes, read, references

from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.names import VIEWS, Tables
from fraud_mlops.warehouse.schema import (
    COMPUTE,
    DATABASE,
    READER,
    SCHEMA,
    Names,
    for_snowflake,
    schema_text,
    statements,
)

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "infra" / "powerbi"
MODEL = PROJECT / "FraudMetrics.SemanticModel" / "definition"
REPORT = PROJECT / "FraudMetrics.Report" / "definition"
TYPES = {
    "VARCHAR": "string",
    "BIGINT": "int64",
    "DOUBLE": "double",
    "DATE": "dateTime",
    "TIMESTAMP": "dateTime",
    "BOOLEAN": "boolean",
}
TABLES = {table.name: table for path in (MODEL / "tables").glob("*.tmdl") for table in read(path)}
OF_VIEWS = {
    match[1]: table
    for table in TABLES.values()
    for partition in table.all("partition").values()
    if (match := re.search(r'Name = "(\w+)", Kind = "View"', partition.properties["source"]))
}
VISUALS = {path.parent.name: json.loads(path.read_text()) for path in REPORT.rglob("visual.json")}
PAGES = {path.parent.name: json.loads(path.read_text()) for path in REPORT.rglob("page.json")}


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Type of each column of each view, as the warehouse has them."""
    warehouse = DuckDBWarehouse(tmp_path_factory.mktemp("views") / "w.duckdb", Tables())
    with warehouse.session() as session:
        return {
            view: {name: column.type for name, column in session.columns(view).items()}
            for view in VIEWS
        }


def expressions() -> dict[str, Object]:
    return {made.name: made for made in read(MODEL / "expressions.tmdl")}


def test_every_view_is_a_table_of_the_model_with_all_its_columns(
    views: dict[str, dict[str, str]],
) -> None:
    assert OF_VIEWS.keys() == set(VIEWS)
    for view, table in OF_VIEWS.items():
        declared = {
            column.properties["sourceColumn"]: column.properties["dataType"]
            for column in table.all("column").values()
        }
        assert declared == {name: TYPES[kind] for name, kind in views[view].items()}, view


def test_the_source_is_snowflake_by_parameters_whose_defaults_are_those_of_the_schema() -> None:
    parameters = expressions()
    for table in OF_VIEWS.values():
        source = table.all("partition")[table.name].properties["source"]
        used = set(re.findall(r"\bSnowflake\w+\b(?!\.)", source))
        assert used == parameters.keys(), table.name
    defaults = {name: re.match(r'"([^"]+)"', made.value)[1] for name, made in parameters.items()}
    assert defaults.pop("SnowflakeServer").endswith(".snowflakecomputing.com")
    assert defaults == {
        "SnowflakeWarehouse": COMPUTE,
        "SnowflakeDatabase": DATABASE,
        "SnowflakeSchema": SCHEMA,
        "SnowflakeRole": READER,
    }
    assert f"CREATE ROLE IF NOT EXISTS {READER}" in schema_text()
    assert all("IsParameterQuery = true" in made.value for made in parameters.values())


def test_the_readme_names_every_parameter_with_its_default() -> None:
    page = (PROJECT / "README.md").read_text()
    listed = dict(re.findall(r"^\| `(Snowflake\w+)` \| `([^`]+)`", page, re.MULTILINE))
    defaults = {name: re.match(r'"([^"]+)"', made.value) for name, made in expressions().items()}
    assert listed == {name: found[1] for name, found in defaults.items() if found}


def columns() -> set[tuple[str, str]]:
    return {(table.name, column) for table in TABLES.values() for column in table.all("column")}


def measures() -> dict[tuple[str, str], Object]:
    return {
        (table.name, name): measure
        for table in TABLES.values()
        for name, measure in table.all("measure").items()
    }


def test_measures_refer_to_columns_and_measures_that_exist_and_have_a_format() -> None:
    names = Counter(name for _, name in measures())
    assert max(names.values()) == 1, "a measure's name is one of the whole model's"
    calculated = {
        (table.name, "its rows"): partition
        for table in TABLES.values()
        for partition in table.all("partition").values()
        if partition.value == "calculated"
    }
    for where, made in (measures() | calculated).items():
        expression = made.value if made.kind == "measure" else made.properties["source"]
        for table, name in references(expression):
            known = name in names if table is None else (table, name) in columns()
            assert known, f"{where}: {table}[{name}]"
        assert expression.count("(") == expression.count(")"), where
        if made.kind == "measure":
            assert made.properties["formatString"], where


def test_no_measure_bears_the_name_of_a_column_of_its_table() -> None:
    assert not measures().keys() & columns()


def test_relationships_join_columns_of_one_type_to_the_one_side() -> None:
    kinds = {
        (table.name, name): column.properties["dataType"]
        for table in TABLES.values()
        for name, column in table.all("column").items()
    }
    made = read(MODEL / "relationships.tmdl")
    joined = set()
    for relationship in made:
        source, target = (
            column_of(relationship.properties[end]) for end in ("fromColumn", "toColumn")
        )
        assert kinds[source] == kinds[target]
        assert target[0] in {"Date", "Dataset", "Model"}
        joined.add((source[0], target[0]))
    expected = {(t.name, d) for t in OF_VIEWS.values() for d in ("Date", "Dataset", "Model")}
    assert joined == expected - {("Model comparison", "Date")}
    assert len({relationship.name for relationship in made}) == len(made)


def test_tables_are_listed_in_the_model_and_tags_are_unique() -> None:
    made = read(MODEL / "model.tmdl")
    [model] = [found for found in made if found.kind == "model"]
    listed = {found.name for found in made if found.kind == "ref table"}
    assert listed == TABLES.keys()
    assert model.properties["culture"] == "en-US"
    tags = re.findall(r"lineageTag: (\S+)", "\n".join(p.read_text() for p in MODEL.rglob("*.tmdl")))
    assert len(tags) == len(set(tags))


def test_every_property_is_one_of_the_tabular_object_model() -> None:
    """A misspelt one opens in no Power BI Desktop."""
    wrong = {path.name: list(mistakes(read(path))) for path in MODEL.rglob("*.tmdl")}
    assert not {name: found for name, found in wrong.items() if found}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("\t\tsourceColum: X", "column Day: sourceColum is no property"),
        ("\t\tdataType: text", "column Day: dataType cannot be text"),
        ("\t\tmode: import", "column Day: mode is no property"),
    ],
)
def test_a_property_that_is_none_is_told(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "t.tmdl"
    path.write_text(f"table T\n\tlineageTag: 1\n\n\tcolumn Day\n{line}\n")
    assert [found.startswith(told) for found in mistakes(read(path))] == [True]


def fields(value: Any) -> list[dict[str, Any]]:
    """Every `field` of a visual, wherever it stands."""
    if isinstance(value, dict):
        own = [value["field"]] if "field" in value else []
        return own + [found for inner in value.values() for found in fields(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in fields(inner)]
    return []


@pytest.mark.parametrize("name", sorted(VISUALS))
def test_every_field_of_a_visual_is_in_the_model(name: str) -> None:
    found = fields(VISUALS[name])
    assert found
    for one in found:
        [(kind, what)] = one.items()
        where = what["Expression"]["SourceRef"]["Entity"], what["Property"]
        assert where in (measures() if kind == "Measure" else columns()), (kind, where)


def test_visuals_lie_on_their_page_and_not_on_one_another() -> None:
    for path in REPORT.rglob("page.json"):
        page = PAGES[path.parent.name]
        boxes = {
            visual.parent.name: json.loads(visual.read_text())["position"]
            for visual in path.parent.rglob("visual.json")
        }
        assert boxes, page["displayName"]
        for name, box in boxes.items():
            assert box["x"] + box["width"] <= page["width"], name
            assert box["y"] + box["height"] <= page["height"], name
        for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
            apart = (
                a["x"] + a["width"] <= b["x"]
                or b["x"] + b["width"] <= a["x"]
                or a["y"] + a["height"] <= b["y"]
                or b["y"] + b["height"] <= a["y"]
            )
            assert apart, (page["displayName"], one, other)


def test_names_are_those_of_the_folders_and_pages_are_in_order() -> None:
    assert all(content["name"] == folder for folder, content in (VISUALS | PAGES).items())
    order = json.loads((REPORT / "pages" / "pages.json").read_text())
    assert sorted(order["pageOrder"]) == sorted(PAGES)
    assert order["activePageName"] in PAGES


def test_the_parts_find_one_another() -> None:
    shortcut = json.loads((PROJECT / "FraudMetrics.pbip").read_text())
    [artifact] = shortcut["artifacts"]
    report = PROJECT / artifact["report"]["path"]
    bound = json.loads((report / "definition.pbir").read_text())
    model = report / bound["datasetReference"]["byPath"]["path"]
    assert (model / "definition.pbism").is_file()
    assert model.resolve() == MODEL.parent


def test_no_secret_or_cache_is_kept() -> None:
    kept = {path.name for path in PROJECT.rglob("*")}
    assert not kept & {"localSettings.json", "cache.abf", ".pbi"}


def test_a_reader_of_another_name_is_told_how_the_old_one_loses_its_grants() -> None:
    text = for_snowflake(Names(database="RISK", schema="BI", reader_role="RISK_READER"))
    granted = {
        " ".join(statement.split())
        for statement in statements(text)
        if statement.endswith("TO ROLE RISK_READER")
    }
    taken_back = re.findall(r"^--\s+REVOKE (.+) FROM ROLE OLD_ROLE;$", text, re.MULTILINE)
    assert len(granted) == 3 + len([*VIEWS, "BI_ABOUT"])
    assert {f"GRANT {what} TO ROLE RISK_READER" for what in taken_back} == granted
