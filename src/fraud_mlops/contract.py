"""The dataset contract: everything that is particular to one set of claims.

A new dataset is a new YAML, never new code. `fraud_mlops.catalog` reads the YAML;
this module holds the pydantic models and nothing that touches a file.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, PositiveInt, Tag, model_validator

from fraud_mlops.fields import (
    Days,
    Duration,
    FirstDay,
    Instant,
    Part,
    Share,
    Text,
    TimeFormat,
    Words,
)
from fraud_mlops.limits import Alerts, Checks, Drift, Gate, Quality
from fraud_mlops.sources import FileSource, SyntheticSource

RESERVED = ("claim_id", "event_time", "label", "label_time", "amount")
CLAIM_ID, EVENT_TIME, LABEL, LABEL_TIME, AMOUNT = RESERVED
MODEL_SCORE = "model_score"
"""Of the model, where it stands beside features, some of which may be called `score`."""
FEATURES = "features"
"""Under it a claim that is sent to be scored brings features of its entities."""

# An adjuster, say, is a category with few values and an entity with a history.
_MAY_SHARE = {("entity", "categorical")}


class TimeParts(Part):
    """Source columns an event time is put together from; `week_of_month` counts from 1."""

    year: str
    month: str
    day: str | None = None
    week_of_month: str | None = None
    day_of_week: str | None = None
    hour: str | None = None
    minute: str | None = None
    second: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.day and (self.week_of_month or self.day_of_week):
            raise ValueError("give day, or week_of_month with day_of_week, not both")
        if bool(self.week_of_month) != bool(self.day_of_week):
            raise ValueError("week_of_month and day_of_week go together")
        return self

    def columns(self) -> list[str]:
        return [c for c in self.model_dump().values() if c is not None]


class EventTime(Part):
    """The moment a claim is scored: one column, or parts. Naive times are UTC."""

    column: str | None = None
    format: TimeFormat | None = None
    parts: TimeParts | None = None
    keep_parts: bool = False
    """Parts stay usable as features (seasonality) when true."""

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.column is None) == (self.parts is None):
            raise ValueError("give either column or parts")
        return self

    def columns(self) -> list[str]:
        return [self.column] if self.column else self.parts.columns() if self.parts else []


class Label(Part):
    """What fraud looks like in the source, and when it may be known."""

    column: str
    fraud: Words = ("1", "true", "True", "yes", "Y")
    genuine: Words = ("0", "false", "False", "no", "N")
    delay: Duration
    time_column: str | None = None
    """When the label became known; without it, event time plus `delay`."""
    time_format: TimeFormat | None = None

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        if both := set(self.fraud) & set(self.genuine):
            raise ValueError(f"{sorted(both)} stand for fraud and for genuine")
        return self

    @property
    def blank(self) -> int | None:
        """The label that a blank stands for, where `""` is among the words; None: not known yet."""
        return 1 if "" in self.fraud else 0 if "" in self.genuine else None


class Window(Part):
    """Half-open: start <= event time < end."""

    start: Instant
    end: Instant

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"end {self.end} must come after start {self.start}")
        return self


class DateSplit(Part):
    train: Window
    validation: Window
    oot: Window
    gap: Duration | None = None
    """Time left between windows; the label delay when left out."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.train.end <= self.validation.start < self.validation.end <= self.oot.start:
            raise ValueError("train, validation and oot must follow one another without overlap")
        return self


class ShareSplit(Part):
    """Windows by share of the claims in order of time."""

    train: Share = 0.6
    validation: Share = 0.2
    oot: Share = 0.2
    gap: Duration | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.train + self.validation + self.oot - 1) > 1e-9:
            raise ValueError("train, validation and oot shares must add up to 1")
        return self


def _kind_of_split(split: Any) -> str:
    """By dates as soon as one window is a mapping, so that mistakes are told of that kind only."""
    if isinstance(split, dict):
        windows = (split.get(name) for name in ("train", "validation", "oot"))
        return "dates" if any(isinstance(w, (dict, Window)) for w in windows) else "shares"
    return "dates" if isinstance(split, DateSplit) else "shares"


class Contract(Part):
    """One dataset, described."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    version: PositiveInt = 1
    description: str = ""
    source: Annotated[FileSource | SyntheticSource, Field(discriminator="kind")]
    claim_id: str | None = None
    """Source column that names a claim; without one, claims are named by file and row."""
    event_time: EventTime
    label: Label
    amount: str | None = None
    entities: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], str] = Field(
        default_factory=dict
    )
    """Entity name to source column, e.g. `policyholder: insured_id`."""
    numeric: tuple[str, ...] | None = None
    categorical: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    personal: tuple[str, ...] = ()
    """Columns with personal data; masked, as ids and entities are, where claims are shown, and
    named without their values in reasons of scores."""
    missing: dict[str, tuple[Text, ...]] = Field(default_factory=dict)
    """Values that mean 'not known' in one column only, e.g. `Age: [0]`."""
    windows: Annotated[tuple[Days, ...], Field(min_length=1)] = (1, 7, 30, 90)
    """Days that entity features look back; no history reaches further than the longest."""
    partition: Literal["day", "week", "month"] = "month"
    first_partition: FirstDay | None = None
    """Where the partitions of claims in files begin; `fraud_mlops.span` says where without it."""
    split: Annotated[
        Annotated[DateSplit, Tag("dates")] | Annotated[ShareSplit, Tag("shares")],
        Discriminator(_kind_of_split),
    ] = ShareSplit()
    alerts: Alerts = Alerts()
    quality: Quality = Quality()
    drift: Drift = Drift()
    gate: Gate = Gate()
    checks: Checks = Checks()

    @model_validator(mode="before")
    @classmethod
    def _file_is_the_usual_source(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(source := data.get("source"), dict):
            data = data | {"source": {"kind": "file"} | source}
        return data

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> Self:
        roles: dict[str, str] = {}
        for role, columns in self._roles().items():
            for column in columns:
                if column in roles and (roles[column], role) not in _MAY_SHARE:
                    raise ValueError(f"column {column!r} is both {roles[column]} and {role}")
                roles[column] = role
        for entity in self.entities:
            if entity in (*RESERVED, FEATURES, *(self.numeric or ()), *(self.categorical or ())):
                raise ValueError(f"entity {entity!r} has the name of a column; call it otherwise")
        for column in (*(self.numeric or ()), *(self.categorical or ())):
            if column in (*RESERVED, MODEL_SCORE):
                raise ValueError(f"column {column!r} bears a reserved name; ignore or rename it")
            if column == FEATURES and self.entities:
                raise ValueError(
                    f"column {column!r} bears the name under which claims that are scored bring "
                    "features of their entities; ignore or rename it"
                )
        if self.alerts.review_cost is not None and self.amount is None:
            raise ValueError("alerts.review_cost needs `amount`, the column of the claimed one")
        return self

    @model_validator(mode="after")
    def _partitions_begin_before_training(self) -> Self:
        first, split = self.first_partition, self.split
        if first is None:
            return self
        if isinstance(self.source, SyntheticSource):
            raise ValueError(  # noqa: TRY004 - pydantic reports ValueError
                "first_partition is of claims in files; generated ones begin at source.start"
            )
        if isinstance(split, DateSplit) and first > split.train.start:
            raise ValueError(
                f"first_partition {first:%F} must not come after split.train.start "
                f"{split.train.start:%F}"
            )
        return self

    def _roles(self) -> dict[str, list[str]]:
        one = {
            "claim_id": self.claim_id,
            "label": self.label.column,
            "label time": self.label.time_column,
            "amount": self.amount,
        }
        roles = {role: [column] for role, column in one.items() if column}
        roles["event time"] = [] if self.event_time.keep_parts else self.event_time.columns()
        roles["entity"] = list(dict.fromkeys(self.entities.values()))
        roles |= {"numeric": list(self.numeric or ()), "categorical": list(self.categorical or ())}
        return roles | {"ignored": list(self.ignore)}

    def role_columns(self) -> list[str]:
        """Source columns the contract names in any role but `ignore`, in order, once each."""
        columns = [c for role, cs in self._roles().items() if role != "ignored" for c in cs]
        return list(dict.fromkeys([*columns, *self.event_time.columns()]))

    @property
    def resolved(self) -> bool:
        """True when every feature column is named, as it is after the source has been looked at."""
        return self.numeric is not None and self.categorical is not None

    @property
    def gap(self) -> timedelta:
        return self.label.delay if self.split.gap is None else self.split.gap
