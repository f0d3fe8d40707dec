"""Numbers and moments that come as text mean what they mean to ingest: the contract says how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from api_kit import DATASET, Published
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_claim_schema import ODD_EXPONENT, fits, made, reads

from fraud_mlops.claims.times import times
from fraud_mlops.claims.values import Signs, numbers
from fraud_mlops.registry.bundle import load_bundle, write_bundle
from fraud_mlops.registry.pointers import promote
from fraud_mlops.serving.champion import ServedModel
from fraud_mlops.serving.columns import read_columns
from fraud_mlops.serving.request import ClaimReader

SIGNS = [Signs(","), Signs(",", "."), Signs(".", ","), Signs(",", " "), Signs(",", "'")]
TEXTS = ["1.234", "1,234", "1.234,56", "1,234.56", "12,5", "12.5", "1 234,5", "1’234,5", "1.23",
         ",5", "-1.234", "1.234.567", " 7 ", "nan", "much", "1,2,3"]  # fmt: skip
SPELLED = st.text("0123456789+-.,'\u2019 \xa0\x85eE", max_size=9)
IN_FULL = "2024-03-15T10:00:00Z"


def written(published: Published, signs: Signs, **more: Any) -> ClaimReader:
    csv = {"decimal": signs.decimal, "thousands": signs.thousands}
    return made(published, source={"uri": "claims.csv", "csv": csv, **more})


def told(reader: ClaimReader, field: str, value: Any) -> tuple[Any, Any]:
    """Of the same value as JSON and in a column; "bad" where it cannot be read."""
    columns = read_columns(reader, pa.record_batch({field: pa.array([value])}), 7)
    by_column = columns.moments[0].item() if field == "event_time" else columns.own[field][0].item()
    try:
        claim = reader.read(json.dumps({field: value}).encode())
    except ValidationError:
        return "bad", "bad" if columns.errors else by_column
    if field == "event_time":
        alone = pa.scalar(claim.event_time, pa.timestamp("us", "UTC")).value
    else:
        alone = reader.number(claim, field)
    return alone, "bad" if columns.errors else by_column


@pytest.mark.parametrize("signs", SIGNS)
def test_numbers_are_read_by_the_signs_of_the_source(published: Published, signs: Signs) -> None:
    reader = written(published, signs)
    for value in TEXTS:
        expected = numbers(pa.array([value]), signs)
        number = "bad" if expected.bad[0] else expected.values[0].as_py()
        in_column = float("nan") if number is None else number
        assert str(told(reader, "driver_age", value)) == str((number, in_column)), value
    assert told(reader, "driver_age", 1.234) == (1.234, 1.234)


def test_the_same_text_is_another_number_under_another_contract(published: Published) -> None:
    german, english = written(published, Signs(",", ".")), written(published, Signs(".", ","))
    assert told(german, "amount", "1.234") == (1234, 1234)
    assert told(english, "amount", "1.234") == (1.234, 1.234)
    claim = german.read(b'{"features": {"provider_amount_mean_7d": "1.234"}}')
    assert german.brought(claim) == {"provider_amount_mean_7d": 1234}
    with pytest.raises(ValidationError, match="as text with ',' before its fraction"):
        german.read(b'{"amount": "12.5"}')


def test_parquet_has_no_signs(published: Published) -> None:
    reader = written(published, Signs(",", "."), format="parquet")
    assert told(reader, "amount", "1.234") == (1.234, 1.234)


@pytest.mark.parametrize("signs", SIGNS)
@pytest.mark.parametrize("field", ["amount", "driver_age"])
def test_the_schema_says_which_signs_these_are(
    published: Published, signs: Signs, field: str
) -> None:
    reader = written(published, signs)
    pattern = reader.schema()["properties"][field]["anyOf"][0]["pattern"]

    @given(SPELLED | st.sampled_from(TEXTS))
    @settings(max_examples=300, deadline=None)
    def each(value: str) -> None:
        assume(not ODD_EXPONENT.search(value))
        assert fits(reader, field, value) == reads(reader, field, value)

    @given(st.from_regex(pattern))
    @settings(max_examples=100, deadline=None)
    def each_that_fits(value: str) -> None:
        assert reads(reader, field, value)

    each()
    each_that_fits()


@pytest.mark.parametrize(
    ("form", "value", "moment"),
    [
        ("%Y%m%d%H", "2024031510", IN_FULL),
        ("%Y%m%d%H", 2024031510, IN_FULL),
        ("%d/%m/%Y %H:%M", "15/03/2024 10:00", IN_FULL),
        ("%d/%m/%Y", "03/04/2024", "2024-04-03"),
        ("%Y-%d-%mT%H:%M", "2024-03-04T10:00", "2024-04-03T10:00:00Z"),
        ("unix_ms", 1710497400, "1970-01-20T19:08:17.4Z"),
        ("unix_ms", "1710496800000", IN_FULL),
        ("%d/%m/%Y", IN_FULL, IN_FULL),
        ("unix_ms", "2024-03-15T11:00:00.000+01:00", IN_FULL),
        ("%d/%m/%Y", "2024-03-15T10:00", IN_FULL),
        ("%d/%m/%Y", "2024-03-15", None),
        ("%d/%m/%Y", "1710497400", None),
        ("%d/%m/%Y", 1710497400, None),
        ("%d/%m/%Y", "2024-02-30T10:00:00Z", None),
    ],
)
def test_moments_are_read_by_the_format_of_the_source_and_in_full(
    published: Published, form: str, value: str | int, moment: str | None
) -> None:
    reader = made(published, event_time={"column": "at", "format": form})
    expected = "bad" if moment is None else times(pa.array([moment])).values[0].value
    assert told(reader, "event_time", value) == (expected, expected)
    description = reader.schema()["properties"]["event_time"]["description"]
    assert f"{form}; or ISO 8601 with a T" in description


def test_a_model_of_such_a_contract_is_served(published: Published, tmp_path: Path) -> None:
    version, models = published.versions["first"], str(tmp_path / "models")
    bundle = load_bundle(published.models, DATASET, version)
    source = {"kind": "file", "uri": "claims.csv", "csv": {"decimal": ",", "thousands": "."}}
    event = {"column": "at", "format": "%d.%m.%Y %H:%M"}
    contract = bundle.manifest.contract | {"source": source, "event_time": event}
    manifest = bundle.manifest.model_copy(update={"contract": contract, "files": {}})
    write_bundle(models, DATASET, version, bundle.files, manifest)
    promote(models, DATASET, version, expected=None, by="ann", reason="test")
    served = ServedModel(models, DATASET, published.lake)
    assert served.look(), served.problem
    assert served.scorer is not None
    claim = served.scorer.reader.read(b'{"amount": "4.200,00", "event_time": "15.12.2024 12:00"}')
    usual = served.scorer.reader.read(b'{"amount": 4200, "event_time": "2024-12-15T12:00:00Z"}')
    assert claim == usual
