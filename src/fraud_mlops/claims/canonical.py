"""Source rows as canonical claims: each contract column found, read and renamed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims import faults as reasons
from fraud_mlops.claims.faults import Faults
from fraud_mlops.claims.files import Chunk
from fraud_mlops.claims.schema import raw_schema
from fraud_mlops.claims.times import UTC_TIME, from_parts, times
from fraud_mlops.claims.values import (
    POINT,
    Mask,
    Signs,
    codes,
    labels,
    mask_of,
    numbers,
    text,
    without,
)
from fraud_mlops.contract import AMOUNT, CLAIM_ID, EVENT_TIME, LABEL, LABEL_TIME, Contract
from fraud_mlops.lakehouse.local_files import printable


@dataclass(frozen=True)
class Converted:
    """A chunk in canonical columns; what could not be read is null and marked in `faults`.

    told: labels as the source has them, also those that are blank since they were not known yet;
    what a blank stands for is not among them, since a later record may bring the label.
    """

    chunk: Chunk
    claims: pa.RecordBatch
    faults: Faults
    immature: Mask
    told: pa.Array

    def only(self, rows: Mask) -> Converted:
        """Those rows of it; lines that could not be read stay."""
        if rows.all():
            return self
        chunk, keep = self.chunk, pa.array(rows)
        fewer = replace(chunk, batch=chunk.batch.filter(keep), rows=chunk.rows[rows])
        return Converted(
            fewer,
            self.claims.filter(keep),
            self.faults.only(rows),
            self.immature[rows],
            self.told.filter(keep),
        )


class Converter:
    """Turns chunks of one source into canonical claims as they were known at `as_of`.

    hindsight: what the source says of later times is true, and was not known then.
    """

    def __init__(
        self,
        contract: Contract,
        as_of: datetime,
        signs: Signs = POINT,
        *,
        hindsight: bool = False,
    ) -> None:
        self._contract = contract
        self._as_of = pa.scalar(as_of, UTC_TIME)
        self._signs = signs
        self._hindsight = hindsight
        # What is null here against the rules is for the rules to find.
        self._schema = pa.schema([f.with_nullable(True) for f in raw_schema(contract)])

    def __call__(self, chunk: Chunk) -> Converted:
        contract, faults = self._contract, Faults(len(chunk))
        columns = {CLAIM_ID: self._claim_ids(chunk)}
        columns[EVENT_TIME] = self._event_times(chunk, faults)
        told = self._told(chunk, faults)
        columns[LABEL], columns[LABEL_TIME], immature = self._known_labels(
            chunk, self._with_blanks(chunk, told), columns[EVENT_TIME], faults
        )
        if contract.amount:
            columns[AMOUNT] = self._numbers(chunk, contract.amount, faults)
        for entity, column in contract.entities.items():
            columns[entity] = codes(self._known(chunk, column))
        for column in contract.numeric or ():
            columns[column] = self._numbers(chunk, column, faults)
        for column in contract.categorical or ():
            columns[column] = codes(self._known(chunk, column))
        arrays = [columns[name] for name in self._schema.names]
        claims = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        return Converted(chunk, claims, faults, immature, told)

    def _known(self, chunk: Chunk, column: str) -> pa.Array:
        return without(chunk[column], self._contract.missing.get(column, ()))

    def _numbers(self, chunk: Chunk, column: str, faults: Faults) -> pa.Array:
        values, bad = numbers(self._known(chunk, column), self._signs)
        faults.mark(bad, reasons.NOT_A_NUMBER, column)
        return values

    def _claim_ids(self, chunk: Chunk) -> pa.Array:
        if self._contract.claim_id:
            return codes(self._known(chunk, self._contract.claim_id))
        rows = pa.array(chunk.rows).cast(pa.string())
        return pc.binary_join_element_wise(printable(chunk.file.place), rows, "-")

    def _event_times(self, chunk: Chunk, faults: Faults) -> pa.Array:
        event = self._contract.event_time
        if event.parts:
            parts = {column: self._known(chunk, column) for column in event.parts.columns()}
            moments = from_parts(parts, event.parts)
            for bad, column in moments.faults:
                faults.mark(bad, reasons.BAD_EVENT_TIME, column)
            return moments.values
        column = event.columns()[0]
        values, bad = times(self._known(chunk, column), event.format)
        faults.mark(bad, reasons.BAD_EVENT_TIME, column)
        return values

    def _told(self, chunk: Chunk, faults: Faults) -> pa.Array:
        contract = self._contract.label
        label, bad = labels(self._known(chunk, contract.column), contract)
        faults.mark(bad, reasons.UNKNOWN_LABEL, contract.column)
        return label

    def _with_blanks(self, chunk: Chunk, label: pa.Array) -> pa.Array:
        contract = self._contract.label
        if contract.blank is None:
            return label
        # A word for "not known" is none of these blanks.
        blank = pc.is_null(text(chunk[contract.column]))
        return pc.if_else(blank, pa.scalar(contract.blank, pa.int8()), label)

    def _known_labels(
        self, chunk: Chunk, label: pa.Array, event_time: pa.Array, faults: Faults
    ) -> tuple[pa.Array, pa.Array, Mask]:
        """Labels, when they were known, and which are blank because that is after `as_of`.

        A label time that the source states is taken at its word, so that one in the future is
        a fault, but in hindsight; one derived from the delay only says that the label has yet to
        ripen.
        """
        contract = self._contract.label
        derived = pc.add(event_time, pa.scalar(contract.delay, pa.duration("us")))
        immature = pc.greater(derived, self._as_of)
        known = derived
        if contract.time_column:
            stated, bad = times(self._known(chunk, contract.time_column), contract.time_format)
            bad &= mask_of(pc.is_valid(label))
            faults.mark(bad, reasons.BAD_LABEL_TIME, contract.time_column)
            stated = _not_before_its_day(stated, event_time)
            known = pc.coalesce(stated, derived)
            immature = (
                pc.greater(known, self._as_of)
                if self._hindsight
                else pc.and_(immature, pc.is_null(stated))
            )
        unripe = mask_of(pc.and_(immature, pc.is_valid(label)))
        if unripe.any():
            label = pc.if_else(pa.array(unripe), pa.scalar(None, pa.int8()), label)
        known = pc.if_else(pc.is_valid(label), known, pa.scalar(None, UTC_TIME))
        return label, known, unripe


def _not_before_its_day(stated: pa.Array, event_time: pa.Array) -> pa.Array:
    """A label time without a time of day is midnight, and says only which day: of the event's own
    day, it is the event's time."""
    same = pc.equal(stated, pc.floor_temporal(event_time, unit="day"))
    return pc.if_else(pc.fill_null(same, False), event_time, stated)
