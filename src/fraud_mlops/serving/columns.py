"""Claims as Arrow columns, read as ingest reads them; rows that cannot be are told, one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims.values import codes, mask_of, numbers, plain, without
from fraud_mlops.contract import AMOUNT, CLAIM_ID, EVENT_TIME
from fraud_mlops.errors import ContractError
from fraud_mlops.serving.naming import Names
from fraud_mlops.serving.request import PASSED_OVER, ClaimReader
from fraud_mlops.serving.single_values import LONGEST_WORD, moments


@dataclass(frozen=True)
class Columns:
    """n claims. own: numeric features that came, derived ones among them; errors: by row; claim_ids
    and words: strings."""

    claim_ids: pa.Array
    moments: npt.NDArray[np.int64]
    own: dict[str, npt.NDArray[np.float64]]
    entities: dict[str, list[str | None]]
    words: dict[str, pa.Array]
    errors: dict[int, str]


def check_columns(reader: ClaimReader, names: list[str]) -> None:
    """Raises ContractError for columns that the contract does not know, or that come twice."""
    known = {column.name for column in reader.columns} | {*reader.derived, *PASSED_OVER}
    if unknown := sorted({name for name in names if name not in known}):
        meant = Names(reader, table=True)
        told = ", ".join(_with_advice(meant, name) for name in unknown[:20])
        raise ContractError(f"no such columns: {told}; see /v1/model/schema")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ContractError(f"columns come twice: {', '.join(twice[:20])}")


def _with_advice(names: Names, name: str) -> str:
    told = names.advice(name)
    return f"{name} ({told})" if told else name


def read_columns(reader: ClaimReader, batch: pa.RecordBatch, now: int) -> Columns:
    """now: event time of claims that give none, in microseconds since 1970.

    Raises ContractError for columns that are unknown, or of a kind that holds no such values.
    """
    check_columns(reader, batch.schema.names)
    errors: dict[int, str] = {}

    def column(name: str) -> pa.Array:
        if name not in batch.schema.names:
            return pa.nulls(batch.num_rows, pa.string())
        values = plain(batch.column(name))
        if pa.types.is_nested(values.type):
            raise ContractError(f"column {name}: holds {values.type}, not single values")
        return without(values, reader.missing(name))

    def bad(rows: npt.NDArray[np.bool_], told: str) -> None:
        for row in np.flatnonzero(rows).tolist():
            errors.setdefault(row, told)

    at = moments(column(EVENT_TIME), reader.time_format)
    bad(at.bad, f"{EVENT_TIME} cannot be read")
    own = {}
    for name in (*reader.numeric, *reader.derived):
        if name in batch.schema.names:
            found = numbers(column(name), reader.signs)
            values = found.values.to_numpy(zero_copy_only=False).astype(np.float64)
            bad(found.bad, f"{name} is no number")
            bad(np.isinf(values), f"{name} is infinite")
            own[name] = values
    least = reader.contract.quality.min_amount
    if AMOUNT in own and least is not None:
        bad(own[AMOUNT] < least, f"{AMOUNT} is less than {least:g}")

    def words(name: str) -> pa.Array:
        found = codes(column(name))
        long = mask_of(pc.greater(pc.utf8_length(found), LONGEST_WORD))
        if long.any():
            bad(long, f"{name}: a word has more than {LONGEST_WORD} characters")
            found = pc.if_else(long, pa.scalar(None, pa.string()), found)
        return found

    known = pc.fill_null(at.values.cast(pa.int64()), now).to_numpy(zero_copy_only=False)
    return Columns(
        claim_ids=words(CLAIM_ID),
        moments=np.asarray(known, dtype=np.int64),
        own=own,
        entities={e: words(e).to_pylist() for e in reader.entities},
        words={name: words(name) for name in reader.categorical},
        errors=errors,
    )


def without_errors(columns: Columns) -> tuple[Columns, npt.NDArray[np.int64]]:
    """The rows that can be scored, and their places."""
    keep = np.delete(np.arange(len(columns.moments)), list(columns.errors))
    if not columns.errors:
        return columns, keep
    chosen = keep.tolist()
    return Columns(
        claim_ids=columns.claim_ids.take(keep),
        moments=columns.moments[keep],
        own={name: values[keep] for name, values in columns.own.items()},
        entities={name: [some[i] for i in chosen] for name, some in columns.entities.items()},
        words={name: values.take(keep) for name, values in columns.words.items()},
        errors={},
    ), keep
