"""The table that entity features are worked out from when a claim comes by itself.

The scoring flow publishes it beside the scores, under
`<root>/entity_state/<dataset>/state=latest/part-0.parquet`: claims of the last weeks reduced to
what a history needs (when, which entities, how much, what became of it and when that was known),
and in the metadata the labels that lie further back as two numbers. So it grows with the claims
of the contract's longest window, not with all that ever were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from fraud_mlops.claims.maturity import later_of, usable_from
from fraud_mlops.claims.times import UTC_TIME
from fraud_mlops.contract import AMOUNT, EVENT_TIME, LABEL, LABEL_TIME, Contract
from fraud_mlops.errors import LakehouseError, StoreError
from fraud_mlops.features.windows import lookbacks
from fraud_mlops.lakehouse.local_files import ABSENT
from fraud_mlops.lakehouse.parquet import open_parquet, user_metadata
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.stores import again, open_input, tag_of

ZONE, KEY, LATEST = "entity_state", "state", "latest"
SLACK = timedelta(days=35)
"""How far back from the newest claim histories are whole: a claim that is scored late, or again,
has the features that the batch gave it."""

_KNOWN = "known"


class StateFacts(BaseModel):
    """until: event time of the newest claim in it. exact_from: claims from this moment on find
    their whole history, for the windows of the contract that it was published with. begins: older
    claims are not in it. as_of: labels that became known later are not in it. base_labels,
    base_frauds: how many labels, and frauds, became known before the table begins."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    until: datetime
    exact_from: datetime
    base_labels: int
    base_frauds: int
    run: str = ""
    begins: datetime | None = None
    as_of: datetime | None = None

    @property
    def knows_until(self) -> datetime:
        """The last moment of which it knows claims and labels both."""
        return self.until if self.as_of is None else min(self.until, self.as_of)

    def whole_from(self, days: int) -> datetime:
        """Claims from here on find their whole history of so many days: a model that is rolled back
        to, or a new one, may look further back than the flow that published."""
        return self.exact_from if self.begins is None else self.begins + timedelta(days=days)


class EntityState(BaseModel):
    """claims: event_time, amount if there is one, every entity, label, label_time."""

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    facts: StateFacts
    data_version: str
    claims: pa.Table


def state_schema(contract: Contract) -> pa.Schema:
    """Columns of the table. label_time: from when on the label may be used, null without one."""
    amount = [pa.field(AMOUNT, pa.float64())] if contract.amount else []
    entities = [pa.field(entity, pa.string()) for entity in contract.entities]
    return pa.schema(
        [
            pa.field(EVENT_TIME, UTC_TIME, nullable=False),
            *amount,
            *entities,
            pa.field(LABEL, pa.int8()),
            pa.field(LABEL_TIME, UTC_TIME),
        ]
    )


def publish_entity_state(
    contract: Contract,
    lakehouse: Lakehouse,
    raw: Sequence[Partition],
    *,
    as_of: datetime,
    run: str,
) -> Partition | None:
    """Replaces the table by that of these raw partitions, unless it is one as of a later time: what
    is served goes on, whatever looks back or is resumed late. None then, and for a contract without
    entities.

    raw: every partition there is. as_of: labels that are known later are null. Two passes over
    few columns, in flat memory. Raises LakehouseError when a partition is not the one pinned.
    """
    if not contract.entities:
        return None
    until = _newest(lakehouse, raw)
    exact_from = until - SLACK
    begins = exact_from - timedelta(days=max(lookbacks(contract)))
    first = pa.scalar(begins, UTC_TIME)
    kept: list[pa.RecordBatch] = []
    labels = frauds = 0
    for batch in _reduced(contract, lakehouse, raw, as_of):
        recent = pc.greater_equal(batch.column(_KNOWN), first)
        before = batch.filter(pc.invert(recent)).column(LABEL).drop_null()
        labels += len(before)
        frauds += int(pc.sum(before).as_py() or 0)
        kept.append(batch.filter(recent).drop_columns([_KNOWN]))
    facts = StateFacts(
        until=until, exact_from=exact_from, begins=begins, base_labels=labels, base_frauds=frauds,
        run=run, as_of=min(as_of, datetime.now(UTC)),
    )  # fmt: skip
    told = {name: str(value) for name, value in facts.model_dump(mode="json").items()}
    told["contract_version"] = str(contract.version)
    place, schema = (ZONE, contract.name, KEY, LATEST), state_schema(contract)

    def publish() -> Partition | None:
        standing, tag = _standing(contract, lakehouse)
        if standing and standing.as_of and facts.as_of and standing.as_of > facts.as_of:
            return None
        return lakehouse.write(*place, kept, schema, told, replacing=tag or None)

    return again(state_uri(contract, lakehouse), publish)


def _standing(contract: Contract, lakehouse: Lakehouse) -> tuple[StateFacts | None, str]:
    """Facts of the table that is there, none of one that nobody can read; its tag, or ABSENT."""
    uri, tag = state_uri(contract, lakehouse), ""
    try:
        with open_input(uri) as stream:
            tag = tag_of(stream)
        with open_parquet(uri) as (parquet, _):
            return StateFacts.model_validate(user_metadata(parquet)), tag
    except StoreError:
        raise
    except FileNotFoundError:
        return None, ABSENT
    except (LakehouseError, ValidationError):
        return None, tag


def read_entity_state(contract: Contract, lakehouse: Lakehouse) -> EntityState | None:
    """The table as it stands; None when no scoring flow has published one.

    Raises LakehouseError for a table of another contract, or a damaged one.
    """
    found = [p for p in lakehouse.partitions(ZONE, contract.name) if p.value == LATEST]
    if not found:
        return None
    facts = StateFacts.model_validate(lakehouse.metadata(found[0]))
    claims = lakehouse.read(found)
    if set(claims.schema.names) != set(state_schema(contract).names):
        raise LakehouseError(
            f"{found[0].uri}: is of other entities than the model's contract; run the scoring "
            "flow, which publishes it anew"
        )
    return EntityState(facts=facts, data_version=found[0].data_version, claims=claims)


def state_uri(contract: Contract, lakehouse: Lakehouse) -> str:
    """Where the table stands, to look whether it was replaced."""
    return lakehouse.uri(ZONE, contract.name, f"{KEY}={LATEST}", "part-0.parquet")


def _newest(lakehouse: Lakehouse, raw: Sequence[Partition]) -> datetime:
    for partition in reversed(raw):
        if partition.rows:
            newest = pc.max(lakehouse.read([partition], [EVENT_TIME]).column(EVENT_TIME)).as_py()
            return datetime.fromisoformat(str(newest)).astimezone(UTC)
    raise LakehouseError("there is no raw claim to take entities from; run ingest")


def _reduced(
    contract: Contract, lakehouse: Lakehouse, raw: Sequence[Partition], as_of: datetime
) -> Iterator[pa.RecordBatch]:
    """Claims as the state has them, and `known`: the last moment that anything about each is of.

    Labels as features use them.
    """
    schema = state_schema(contract)
    now = pa.scalar(as_of, UTC_TIME)
    for batch in lakehouse.batches(raw, schema.names):
        event, label = batch.column(EVENT_TIME), batch.column(LABEL)
        usable = usable_from(batch, contract.label.delay)
        mature = pc.fill_null(pc.less_equal(usable, now), False)
        nothing = pc.invert(mature)
        columns = {name: batch.column(name) for name in schema.names}
        columns[LABEL] = _null_where(label, nothing)
        columns[LABEL_TIME] = _null_where(usable.cast(UTC_TIME), nothing)
        known = later_of(columns[LABEL_TIME], event)
        arrays = [*(columns[n].cast(schema.field(n).type) for n in schema.names), known]
        yield pa.record_batch(arrays, names=[*schema.names, _KNOWN])


def _null_where(values: pa.Array, nothing: pa.Array) -> pa.Array:
    return pc.if_else(nothing, pa.scalar(None, values.type), values)
