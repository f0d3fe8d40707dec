"""Which columns are features, told from the source when the contract leaves it out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims.files import Chunk
from fraud_mlops.claims.kinds import Kind, kind_of
from fraud_mlops.claims.reading import Source, open_source
from fraud_mlops.claims.values import Signs, is_number, text, without
from fraud_mlops.contract import FEATURES, MODEL_SCORE, RESERVED, Contract
from fraud_mlops.errors import SourceError
from fraud_mlops.sources import SyntheticSource
from fraud_mlops.words import closest

# Rows looked at, evenly spread over the source; enough to tell a code from a measure.
_ROWS = 200_000


class Resolution(NamedTuple):
    contract: Contract
    warnings: tuple[str, ...]


_WHEN = Kind(
    "out",
    "is left out: it stands in the names of folders and says when, which does not come again; "
    "list it under `numeric` or `categorical` to have it all the same",
)


def resolve(contract: Contract) -> Contract:
    """The contract with every feature column named; as it is when they all are.

    Raises SourceError when the source cannot be read or lacks a column that is named.
    """
    return infer(contract).contract


def infer(
    contract: Contract, source: Source | None = None, before: Contract | None = None
) -> Resolution:
    """`resolve`, with what a person should know about the columns that were left out.

    before: a contract that was resolved by an earlier look. A column that was a feature then stays
    one, whatever it looks like: a champion may need it.

    The source is read through once and some 200,000 rows of it, evenly spaced, are looked at,
    so that a column that starts late or changes its ways is seen.
    """
    if contract.resolved:
        return Resolution(contract, ())
    if isinstance(contract.source, SyntheticSource):
        return Resolution(_generated(contract), ())
    source = source or open_source(contract)
    source.require(named_columns(contract))
    in_vain = list(_ignored_in_vain(contract, source))
    columns = _open_columns(contract, source)
    # Asked for no column, a reader would give all.
    looked_at, apart = _spread(source.chunks(columns), columns) if columns else ({}, 1)
    kinds = {n: _checked(contract, n, looked_at[n], source.signs, apart) for n in columns}
    kinds = {name: _as_before(name, kind, before) for name, kind in kinds.items()}
    kinds |= {
        key: _WHEN for key in source.folder_keys if key in looked_at and _is_when(looked_at[key])
    }
    found = {
        kind: tuple(name for name in columns if kinds[name].kind == kind)
        for kind in ("numeric", "categorical")
    }
    chosen = {kind: names for kind, names in found.items() if getattr(contract, kind) is None}
    warnings = [f"column {name!r} {kind.why}" for name, kind in kinds.items() if kind.why]
    warnings += [
        f"{key!r} is left out: it stands in the names of folders ({key}=...) of {n:,} of "
        f"{len(source.files):,} files only; put every file into such a folder to have it"
        for key, n in source.keys_of_some.items()
    ]
    warnings += in_vain
    for kind in found.keys() - chosen.keys():
        warnings += [f"column {n!r} looks {kind} but is not listed: left out" for n in found[kind]]
    return Resolution(_with(contract, chosen), tuple(warnings))


def _as_before(name: str, kind: Kind, before: Contract | None) -> Kind:
    for was in ("numeric", "categorical"):
        if kind.looks and before is not None and name in (getattr(before, was) or ()):
            return Kind(was, f"stays {was}, as in the raw zone, though {kind.looks}; see `ignore`")
    return kind


def _ignored_in_vain(contract: Contract, source: Source) -> Iterator[str]:
    """Ignored names that no file has: what they mean may have become a feature.

    Raises SourceError for one that differs from a column without a role in case and blanks only.
    """
    free = [column for column in source.columns if column not in contract.role_columns()]
    for name in contract.ignore:
        if name in source.ignored:
            continue
        told = f"`ignore` names {name!r}, which is no column of the files"
        if same := [c for c in free if _bare(c) == _bare(name)]:
            raise SourceError(f"{source.uri}: {told}; {same[0]!r} is. Correct the contract.")
        near = closest(name, free)
        yield told + (f" (did you mean {near!r}?)" if near else "")


def _bare(name: str) -> str:
    return "".join(name.split()).casefold()


def named_columns(contract: Contract) -> list[str]:
    """Source columns that must be there."""
    return list(dict.fromkeys([*contract.role_columns(), *contract.missing]))


def _generated(contract: Contract) -> Contract:
    from fraud_mlops.synthetic import CATEGORICAL, NUMERIC

    names = {"numeric": NUMERIC, "categorical": CATEGORICAL}
    return _with(contract, {k: tuple(v) for k, v in names.items() if getattr(contract, k) is None})


def _with(contract: Contract, columns: dict[str, tuple[str, ...]]) -> Contract:
    return Contract.model_validate(contract.model_dump() | columns)


def _open_columns(contract: Contract, source: Source) -> list[str]:
    """Columns without a role. Of kept time parts the year is none: it does not come again."""
    taken = set(contract.role_columns())
    if contract.event_time.keep_parts and contract.event_time.parts:
        parts = contract.event_time.parts
        roles = set(contract.entities.values()) | {parts.year}
        taken -= set(parts.columns()) - roles - set(contract.numeric or ())
        taken |= set(contract.categorical or ())
    return [name for name in source.columns if name not in taken]


def _spread(chunks: Iterable[Chunk], columns: list[str]) -> tuple[dict[str, pa.Array], int]:
    """Every 2^k-th row, with k as small as the limit allows; one pass, no count beforehand."""
    stride, seen, kept = 1, 0, 0
    parts: list[tuple[np.ndarray, pa.RecordBatch]] = []
    for chunk in chunks:
        positions = np.arange(seen, seen + len(chunk))
        seen += len(chunk)
        parts.append(_every(stride, positions, chunk.batch.select(columns)))
        kept += len(parts[-1][0])
        while kept > _ROWS:
            stride *= 2
            parts = [_every(stride, *part) for part in parts]
            kept = sum(len(part[0]) for part in parts)
    return {name: _joined([batch.column(name) for _, batch in parts]) for name in columns}, stride


def _joined(arrays: list[pa.Array]) -> pa.Array:
    """One column of several files, of which one may hold whole numbers and another floats."""
    kinds = {array.type for array in arrays if not pa.types.is_null(array.type)} or {pa.null()}
    if len(kinds) > 1:
        floats = all(map(is_number, kinds))
        kinds = {pa.float64()} if floats else {pa.string()}
        arrays = [a.cast(pa.float64(), safe=False) if floats else text(a) for a in arrays]
    kind = kinds.pop()
    return pa.concat_arrays([a.cast(kind) for a in arrays] or [pa.nulls(0, kind)])


def _every(
    stride: int, positions: np.ndarray, batch: pa.RecordBatch
) -> tuple[np.ndarray, pa.RecordBatch]:
    keep = positions % stride == 0
    return (positions, batch) if keep.all() else (positions[keep], batch.filter(pa.array(keep)))


def _checked(contract: Contract, name: str, array: pa.Array, signs: Signs, apart: int) -> Kind:
    if name in (*RESERVED, MODEL_SCORE, *contract.entities):
        return Kind("out", "is left out: its name is that of another column of the claims table")
    if name == FEATURES and contract.entities:
        return Kind("out", "is left out: it is where a claim brings features of its entities")
    if pa.types.is_nested(array.type):
        return Kind("out", f"is left out: it holds {array.type}, not single values")
    return kind_of(without(array, contract.missing.get(name, ())), signs, name, apart)


def _is_when(array: pa.Array) -> bool:
    """Years, months of years and days, as folders are named for: 2024, 2024-03, 20240331."""
    dated = pc.match_substring_regex(text(array), r"^(19|20)\d\d([-_]?\d\d){0,2}$")
    return len(array) > array.null_count and bool(pc.all(pc.fill_null(dated, True)).as_py())
