"""What is wrong with the rows of a chunk: the first fault of each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fraud_mlops.claims.files import format_named
from fraud_mlops.claims.values import Mask
from fraud_mlops.contract import Contract
from fraud_mlops.sources import FileSource

UNREADABLE_ROW = "unreadable_row"
MISSING_CLAIM_ID = "missing_claim_id"
DUPLICATE_CLAIM_ID = "duplicate_claim_id"
OTHER_VALUES = "duplicate_with_other_values"
OTHER_LABEL = "duplicate_with_other_label"
BAD_EVENT_TIME = "bad_event_time"
BAD_LABEL_TIME = "bad_label_time"
EVENT_IN_FUTURE = "event_in_future"
LABEL_FROM_THE_FUTURE = "label_from_the_future"
UNKNOWN_LABEL = "unknown_label"
NOT_A_NUMBER = "not_a_number"
NEGATIVE_AMOUNT = "negative_amount"
# The rules in `schema` add: label_before_event, infinite_value.


class Fault(NamedTuple):
    reason: str
    column: str | None
    """Source column, None when the row as a whole is at fault."""


def hints(contract: Contract, found: Collection[str]) -> list[str]:
    """What a person can do about the reasons that were found, where that is not plain."""
    twice = (
        "the first record of a claim stays, in order of files and rows; a later one may only add "
        "the label that it lacks. To correct a claim, replace its file under its name"
    )
    told = [*_time_hints(contract, found), *_future_hints(found), *_value_hints(contract, found)]
    repeated = {DUPLICATE_CLAIM_ID, OTHER_VALUES, OTHER_LABEL}.intersection(found)
    return [*told, *_row_hints(contract, found), *([twice] if repeated else [])]


def _row_hints(contract: Contract, found: Collection[str]) -> Iterator[str]:
    """Rows that do not fit the header, and amounts that are paid back."""
    if UNREADABLE_ROW in found:
        yield (
            "a row that has one field too many may end with a separator, or hold one in a value: "
            "let the header end with one as well, or put the value in quotes (source.csv.quote)"
        )
    if NEGATIVE_AMOUNT in found:
        yield (
            f"amounts of less than quality.min_amount = {contract.quality.min_amount:g} are bad "
            "rows; where repayments are claims too, set quality.min_amount: null"
        )


def _time_hints(contract: Contract, found: Collection[str]) -> list[str]:
    """How the contract reads times, and which field says otherwise."""
    event, label = contract.event_time, contract.label
    read = {
        BAD_EVENT_TIME: ("event_time.format", event.column, event.format),
        BAD_LABEL_TIME: ("label.time_format", label.time_column, label.time_format),
    }
    return [
        f"{column!r} is read as {form or 'ISO 8601 (2024-12-31T13:45)'}; if it is written "
        f"otherwise, set {field}: 31/12/2024 13:45 is %d/%m/%Y %H:%M"
        for reason, (field, column, form) in read.items()
        if reason in found and column
    ]


def _future_hints(found: Collection[str]) -> Iterator[str]:
    if {EVENT_IN_FUTURE, LABEL_FROM_THE_FUTURE}.intersection(found):
        yield (
            "times without a zone are taken as UTC; if they are local, write the zone behind them "
            "(2024-12-31T13:45+02:00, %z in a format)"
        )


def _value_hints(contract: Contract, found: Collection[str]) -> Iterator[str]:
    """How the contract reads numbers of a CSV, and labels that nobody has decided yet."""
    source, label = contract.source, contract.label
    if NOT_A_NUMBER in found and isinstance(source, FileSource) and not _is_parquet(source):
        sign, thousands = source.csv.decimal, source.csv.thousands
        yield (
            f"numbers of a CSV are read as 1{thousands or ''}234{sign}5; if another sign stands "
            "before the fraction, set source.csv.decimal, and if one stands between thousands, "
            "source.csv.thousands"
        )
    if UNKNOWN_LABEL in found:
        blank = ", and not known yet where it is blank" if label.blank is None else ""
        yield (
            f"{label.column!r} is fraud where it is {_either(label.fraud)}, genuine where it is "
            f"{_either(label.genuine)} (label.fraud, label.genuine){blank}; for a word that means "
            f"not known yet, write missing: {{{label.column}: [pending]}}"
        )


def _is_parquet(source: FileSource) -> bool:
    """As far as the contract says, by format or by name."""
    return (source.format or format_named(source.uri)) == "parquet"


def _either(words: Sequence[str]) -> str:
    return " or ".join(repr(word) if word else "blank" for word in words)


class Faults:
    """Faults of n rows; of several in one row the first that was marked stays."""

    def __init__(self, rows: int) -> None:
        self._which = np.zeros(rows, dtype=np.int16)
        self._kinds: list[Fault] = []

    def mark(self, rows: Mask, reason: str, column: str | None) -> None:
        fresh = rows & (self._which == 0)
        if fresh.any():
            self._kinds.append(Fault(reason, column))
            self._which[fresh] = len(self._kinds)

    def forgive(self, rows: Mask) -> None:
        """Rows that are none of this run's business have no fault."""
        self._which[rows] = 0

    def only(self, rows: Mask) -> Faults:
        """Of these rows, renumbered."""
        kept = Faults(0)
        kept._which, kept._kinds = self._which[rows], self._kinds
        return kept

    @property
    def bad(self) -> Mask:
        mask: Mask = self._which > 0
        return mask

    def __iter__(self) -> Iterator[tuple[int, Fault]]:
        for row in np.flatnonzero(self._which):
            yield int(row), self._kinds[self._which[row] - 1]
