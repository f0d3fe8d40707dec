"""What the schema says of a claim's values is true: what fits it is read, and nothing else is."""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from api_kit import DATASET, Published
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from test_values_of_claims import MOMENTS, NO_MOMENTS, NO_NUMBERS, NUMBERS

from fraud_mlops.contract import CLAIM_ID, Contract
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.registry.bundle import load_bundle
from fraud_mlops.serving.request import ClaimReader
from fraud_mlops.serving.value_schemas import BLANKS

SPELLED = st.text("0123456789+-.eEnNaAxi \t\x85", max_size=9)
ANY = SPELLED | st.text(max_size=4) | st.floats(allow_nan=False, allow_infinity=False)
ANY |= st.integers() | st.booleans() | st.none() | st.lists(st.none(), max_size=1)
ODD_EXPONENT = re.compile(r"[eE][+-]?[0-9]{3}")


@pytest.fixture(scope="module")
def reader(published: Published) -> ClaimReader:
    return made(published)


def made(published: Published, **changed: Any) -> ClaimReader:
    told = published.features.contract.model_dump(mode="json") | changed
    files = load_bundle(published.models, DATASET, published.versions["first"]).files
    return ClaimReader(Contract.model_validate(told), FraudModel.from_files(files))


def reads(reader: ClaimReader, field: str, value: Any) -> bool:
    try:
        reader.read(json.dumps({field: value}).encode())
    except ValidationError:
        return False
    return True


@cache
def validator(reader: ClaimReader) -> Draft202012Validator:
    return Draft202012Validator(reader.schema())


def fits(reader: ClaimReader, field: str, value: Any) -> bool:
    return bool(validator(reader).is_valid({field: value}))


@given(ANY, st.sampled_from(["amount", "driver_age"]))
@settings(max_examples=500, deadline=None)
def test_numbers_fit_the_schema_exactly_when_they_are_read(
    reader: ClaimReader, value: Any, field: str
) -> None:
    assume(not (isinstance(value, str) and ODD_EXPONENT.search(value)))
    assert fits(reader, field, value) == reads(reader, field, value)


@pytest.mark.parametrize("field", ["amount", "driver_age"])
def test_every_text_that_fits_is_a_number(reader: ClaimReader, field: str) -> None:
    pattern = reader.schema()["properties"][field]["anyOf"][0]["pattern"]

    @given(st.from_regex(pattern))
    @settings(max_examples=500, deadline=None)
    def each(value: str) -> None:
        assert reads(reader, field, value)

    each()


def test_examples_fit_where_they_are_read(reader: ClaimReader) -> None:
    for value in [value for value, _ in NUMBERS] + NO_NUMBERS:
        assert fits(reader, "amount", value) == reads(reader, "amount", value), value
    for value, _ in MOMENTS:
        assert fits(reader, "event_time", value), value
    no_days = {"2024-02-30T10:00:00Z", "0001-01-01T00:00:00+14:00"}
    for value in NO_MOMENTS:
        assert fits(reader, "event_time", value) == (value in no_days), value


@given(ANY)
@settings(max_examples=500, deadline=None)
def test_moments_that_are_read_fit_the_schema(reader: ClaimReader, value: Any) -> None:
    assert fits(reader, "event_time", value) or not reads(reader, "event_time", value)


def test_the_name_of_a_claim_comes_back_as_it_is_said_to(reader: ClaimReader) -> None:
    """It is joined to labels by what ingest makes of it."""
    found = [reader.read(json.dumps({CLAIM_ID: n}).encode()).claim_id for n in (" CLM 1 ", 17)]
    assert found == ["CLM 1", "17"]
    told = reader.schema()["properties"]["claim_id"]["description"]
    assert told == "Name of the claim; comes back as ingest reads it: without blanks, 17.0 as 17."


def test_words_for_what_is_not_known_fit(published: Published) -> None:
    words = ["n/a", "(none)", "1900-00-00"]
    missing = {"amount": words, "driver_age": words, "event_time": words}
    knowing = made(published, missing=missing)
    for field in missing:
        for word in words:
            assert fits(knowing, field, f" {word}")
            assert reads(knowing, field, f" {word}")
            assert not fits(knowing, field, f"{word}!")


def test_without_a_least_amount_the_schema_has_none(published: Published) -> None:
    quality = published.features.contract.quality.model_dump(mode="json")
    for least, held in ((None, [-5, "-5", False]), (-2.5, [-2.5, "-5"]), (1.0, [1, "0"])):
        bound = made(published, quality=quality | {"min_amount": least})
        assert all(fits(bound, "amount", value) for value in held)
    assert not fits(bound, "amount", 0.5)


def test_blanks_are_those_that_arrow_trims() -> None:
    characters = [chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i <= 0xDFFF]
    trimmed = pc.equal(pc.utf8_trim_whitespace(pa.array(characters)), "").to_pylist()
    assert [bool(re.fullmatch(BLANKS, character)) for character in characters] == trimmed
