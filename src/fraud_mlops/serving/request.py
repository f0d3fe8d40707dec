"""What a claim looks like when it comes by itself: a pydantic model made from the contract.

Names are the canonical ones of the raw zone (`provider`, not the source's `workshop_id`). Every
field may be left out, for training has seen missing values too; a field that the contract does
not know is a mistake. Words are read as ingest reads them: trimmed, empty is missing, and what
the contract calls missing in a column is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    WithJsonSchema,
    create_model,
)
from pydantic_core import PydanticCustomError

from fraud_mlops.claims.values import numbers, short, text, without
from fraud_mlops.contract import AMOUNT, CLAIM_ID, EVENT_TIME, Contract
from fraud_mlops.features.windows import entity_feature_names
from fraud_mlops.models.fraud_model import FraudModel

FEATURES = "features"
LONGEST_WORD = 512

_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Word = Annotated[
    str,
    Field(max_length=LONGEST_WORD),
    WithJsonSchema({"type": ["string", "number"], "maxLength": LONGEST_WORD}),
]


def _in_utc(moment: datetime) -> datetime:
    """Naive is UTC. The calendar's first and last hours may lie outside it once they are UTC."""
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        told = "Input should lie within the years 1 to 9999 in UTC"
        raise PydanticCustomError("time_out_of_range", told) from None


_Moment = Annotated[datetime, Field(strict=True), AfterValidator(_in_utc)]


class _Claim(BaseModel):
    model_config = ConfigDict(
        extra="forbid", str_strip_whitespace=True, coerce_numbers_to_str=True, frozen=True
    )


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
        self.model = _model_of(contract, self.derived)
        self.adapter: TypeAdapter[Any] = TypeAdapter(self.model)
        self.columns = tuple(_columns(self, model))
        missing = contract.missing.items()
        self._no_words = {name: frozenset(map(short, words)) for name, words in missing}
        self._no_numbers = {name: _numbers_among(words) for name, words in missing}

    def read(self, body: bytes) -> Any:
        """A claim from JSON. Raises pydantic.ValidationError, which names what is wrong where."""
        return self.adapter.validate_json(body)

    def number(self, claim: Any, name: str) -> float | None:
        value: float | None = getattr(claim, name)
        return None if value in self._no_numbers.get(name, ()) else value

    def word(self, claim: Any, name: str) -> str | None:
        """Of a category or an entity; empty ones, and the contract's words for it, are missing."""
        value: str | None = getattr(claim, name)
        unknown = self._no_words.get(self.contract.entities.get(name, name))
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


def _model_of(contract: Contract, derived: Sequence[str]) -> type[BaseModel]:
    least = contract.quality.min_amount
    fields: dict[str, Any] = {
        CLAIM_ID: (
            _Word | None,
            Field(None, description="Name of the claim; comes back as given."),
        ),
        EVENT_TIME: (
            _Moment | None,
            Field(
                None, description="The moment of scoring, ISO 8601; naive is UTC. Now if absent."
            ),
        ),
    }
    if contract.amount:
        amount = Annotated[_Number, Field(ge=least)] if least is not None else _Number
        fields[AMOUNT] = (amount | None, Field(None, description="Claimed amount."))
    for entity in contract.entities:
        text = f"Which {entity}; its history is looked up."
        fields[entity] = (_Word | None, Field(None, description=text))
    for name in contract.numeric or ():
        fields[name] = (_Number | None, Field(None))
    for name in contract.categorical or ():
        fields[name] = (_Word | None, Field(None))
    if derived:
        own = {name: (_Number | None, Field(None)) for name in derived}
        inner = create_model("EntityFeatures", __base__=_Claim, **own)  # type: ignore[call-overload]
        text = "Entity features of the sender's own, instead of those looked up; null is looked up."
        fields[FEATURES] = (inner | None, Field(None, description=text))
    made: type[BaseModel] = create_model("Claim", __base__=_Claim, **fields)
    return made


def _columns(reader: ClaimReader, model: FraudModel) -> list[Column]:
    contract, typical = reader.contract, model.typical
    personal = set(contract.personal)
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
            typical.categorical.get(name),
            tuple(value for value in known.get(name, ()) if value is not None),
            name in personal,
        )
        for name in reader.categorical
    ]
    return columns
