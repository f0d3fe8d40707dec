"""What a claim looks like when it comes by itself: a pydantic model made from the contract.

Names are the canonical ones of the raw zone (`provider`, not the source's `workshop_id`). Every
field may be left out, for training has seen missing values too; a field that the contract does
not know is a mistake. Values are read as ingest reads them, see `single_values`: words are trimmed,
empty is missing, and what the contract calls missing in a column is; numbers and moments that are
text are written as in the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from fraud_mlops.claims.schema import unsaid_columns
from fraud_mlops.claims.values import POINT, Signs, numbers, short, text, without
from fraud_mlops.contract import (
    AMOUNT,
    CLAIM_ID,
    EVENT_TIME,
    FEATURES,
    LABEL,
    LABEL_TIME,
    Contract,
)
from fraud_mlops.features.windows import entity_feature_names
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.serving.single_values import moment, number, word
from fraud_mlops.serving.value_schemas import of_moment, of_number, saying
from fraud_mlops.sources import SyntheticSource

PASSED_OVER = (LABEL, LABEL_TIME)
"""Of a batch: a raw partition may be sent as it is; what became of its claims is not looked at."""


class _Claim(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(NamedTuple):
    """One field of a claim, for people and for pages that make a form of it.

    kind: time, number, category, entity or id. values: those with a meaning of their own to the
    model. typical: the middle of the training claims.
    """

    name: str
    kind: str
    typical: float | str | None = None
    values: tuple[str, ...] = ()
    personal: bool = False


class ClaimReader:
    """Reads claims of one contract, for one model."""

    def __init__(self, contract: Contract, model: FraudModel) -> None:
        self.contract = contract
        self.numeric = (*([AMOUNT] if contract.amount else []), *(contract.numeric or ()))
        self.categorical = contract.categorical or ()
        self.entities = tuple(contract.entities)
        self.derived = tuple(entity_feature_names(contract))
        self.signs, self.time_format = _signs(contract), contract.event_time.format
        self.sources = _sources(contract)
        fields = _fields_of(self)
        self._attributes, self._brought = _attributes(fields), _attributes(self.derived)
        self.model = _made("Claim", fields, self._attributes)
        self.adapter: TypeAdapter[Any] = TypeAdapter(self.model)
        self._rows: TypeAdapter[Any] = TypeAdapter(_row_of(self.model))
        self.columns = tuple(_columns(self, model))
        missing = {column.name: self.missing(column.name) for column in self.columns}
        self._no_words = {name: frozenset(map(short, w)) for name, w in missing.items() if w}
        self._no_numbers = {name: _numbers_among(w) for name, w in missing.items() if w}

    def read(self, body: bytes) -> Any:
        """A claim from JSON. Raises pydantic.ValidationError, which names what is wrong where."""
        return self.adapter.validate_json(body)

    def read_row(self, body: bytes) -> Any:
        """Likewise, of a batch: with what is passed over."""
        return self._rows.validate_json(body)

    def read_known(self, body: bytes) -> Any:
        """Likewise, without the fields that the contract does not know."""
        return self.adapter.validate_json(body, extra="ignore")

    def missing(self, name: str) -> Sequence[str]:
        """The contract's words for 'not known' in what comes under this name."""
        return self.contract.missing.get(self.sources.get(name, name), ())

    def given(self, claim: Any, name: str) -> Any:
        """A field of a claim as it was read; None where there is no claim."""
        return getattr(claim, self._attributes[name], None)

    def brought(self, claim: Any) -> dict[str, float | None]:
        """The entity features of the sender's own."""
        features = self.given(claim, FEATURES) if self.derived else None
        if features is None:
            return {}
        own, sent = self._brought, features.model_fields_set
        return {name: getattr(features, own[name]) for name in own if own[name] in sent}

    def number(self, claim: Any, name: str) -> float | None:
        value: float | None = self.given(claim, name)
        return None if value in self._no_numbers.get(name, ()) else value

    def word(self, claim: Any, name: str) -> str | None:
        """Of a category or an entity; empty ones, and the contract's words for it, are missing."""
        value: str | None = self.given(claim, name)
        unknown = self._no_words.get(name)
        return None if not value or (unknown and short(value) in unknown) else value

    def schema(self) -> dict[str, Any]:
        """JSON schema of one claim."""
        return self.model.model_json_schema()


def _numbers_among(words: Sequence[str]) -> frozenset[float]:
    """Those that a column of floats would lose to one of the words."""
    found = numbers(text(pa.array(words, pa.string()))).values.drop_null()
    kept = without(found, words)
    return frozenset(found.filter(pc.is_null(kept)).to_pylist())


def moment_of(claim: Any) -> datetime:
    """Event time in UTC; now for a claim that gives none."""
    moment: datetime | None = claim.event_time
    return datetime.now(UTC) if moment is None else moment


def _signs(contract: Contract) -> Signs:
    """Of text only: numbers of Parquet have none."""
    source = contract.source
    if isinstance(source, SyntheticSource) or source.format == "parquet":
        return POINT
    return Signs(source.csv.decimal, source.csv.thousands)


def _sources(contract: Contract) -> dict[str, str]:
    """Columns of the source that have another name here."""
    event = contract.event_time
    own = {AMOUNT: contract.amount, CLAIM_ID: contract.claim_id}
    own[EVENT_TIME] = None if event.parts else event.columns()[0]
    return {**contract.entities, **{name: column for name, column in own.items() if column}}


def _attributes(names: Iterable[str]) -> dict[str, str]:
    """Numbered: some names of columns are none that pydantic takes, as `_id` and `model_config`."""
    own = (CLAIM_ID, EVENT_TIME)
    return {name: name if name in own else f"field_{i}" for i, name in enumerate(names)}


def _made(
    called: str, fields: Mapping[str, tuple[Any, Any]], attributes: Mapping[str, str]
) -> type[BaseModel]:
    told = {
        attributes[name]: (Annotated[kind, Field(alias=name)], field)
        for name, (kind, field) in fields.items()
    }
    made: type[BaseModel] = create_model(called, __base__=_Claim, **told)  # type: ignore[call-overload]
    return made


def _fields_of(reader: ClaimReader) -> dict[str, tuple[Any, Any]]:
    contract, missing = reader.contract, reader.missing
    signs, form = reader.signs, reader.time_format
    usual = "ISO 8601, naive is UTC; or Unix time, of which 8 digits are a date"
    when = (
        "The moment of scoring, of the years 1 to 9999: "
        f"{f'{form}; or ISO 8601 with a T, naive is UTC' if form else usual}. Now if absent."
    )
    called = "Name of the claim; comes back as ingest reads it: without blanks, 17.0 as 17."
    ids = missing(CLAIM_ID)
    fields: dict[str, tuple[Any, Any]] = {
        CLAIM_ID: (word(ids, short_way=not ids) | None, Field(None, description=called)),
        EVENT_TIME: (
            moment(missing(EVENT_TIME), form) | None,
            _field(of_moment(missing(EVENT_TIME), form), description=when),
        ),
    }
    if contract.amount:
        words, least = missing(AMOUNT), contract.quality.min_amount
        amount = "Claimed amount" + ("." if least is None else f", {least:g} or more.")
        said = _field(of_number(words, least, signs), description=amount)
        fields[AMOUNT] = (number(words, least, signs) | None, said)
    for entity in contract.entities:
        text = f"Which {entity}; its history is looked up."
        fields[entity] = (word(missing(entity)) | None, Field(None, description=text))
    for name in contract.numeric or ():
        words = missing(name)
        told = _field(of_number(words, signs=signs))
        fields[name] = (number(words, signs=signs) | None, told)
    for name in contract.categorical or ():
        fields[name] = (word(missing(name)) | None, Field(None))
    if reader.derived:
        kind = number(signs=signs) | None
        own = {name: (kind, _field(of_number(signs=signs))) for name in reader.derived}
        inner = _made("EntityFeatures", own, _attributes(own))
        text = "Entity features of the sender's own, instead of those looked up; null is looked up."
        fields[FEATURES] = (inner | None, Field(None, description=text))
    return fields


def _row_of(model: type[BaseModel]) -> type[BaseModel]:
    also: dict[str, Any] = dict.fromkeys(PASSED_OVER, (Any, None))
    made: type[BaseModel] = create_model("Row", __base__=model, **also)
    return made


def _field(told: dict[str, Any], **more: Any) -> Any:
    """One that may be left out, with what JSON schema says of its values."""
    return Field(None, json_schema_extra=saying(told), **more)


def _columns(reader: ClaimReader, model: FraudModel) -> list[Column]:
    """Of a column that is an entity too, no value is told: it would name somebody."""
    contract, typical = reader.contract, model.typical
    personal, people = unsaid_columns(contract), frozenset(contract.entities.values())
    known = {c.name: c.values for c in model.preprocessor.categorical}
    columns = [Column(CLAIM_ID, "id", personal=True), Column(EVENT_TIME, "time")]
    columns += [Column(entity, "entity", personal=True) for entity in reader.entities]
    columns += [
        Column(name, "number", typical.numeric.get(name), personal=name in personal)
        for name in reader.numeric
    ]
    columns += [
        Column(
            name,
            "category",
            None if name in people else typical.categorical.get(name),
            tuple(v for v in known.get(name, ()) if v is not None and name not in people),
            name in personal,
        )
        for name in reader.categorical
    ]
    return columns
