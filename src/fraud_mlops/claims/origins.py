"""Where canonical claims come from: files that a contract describes, or the generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud_mlops.claims.canonical import Converted, Converter
from fraud_mlops.claims.faults import Faults
from fraud_mlops.claims.files import Chunk, SourceFile
from fraud_mlops.claims.inference import infer, named_columns
from fraud_mlops.claims.reading import open_source, sampled
from fraud_mlops.claims.schema import raw_schema, source_columns
from fraud_mlops.claims.times import UTC_TIME
from fraud_mlops.claims.values import Mask, mask_of
from fraud_mlops.contract import EVENT_TIME, LABEL, LABEL_TIME, Contract
from fraud_mlops.errors import ContractError
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.lakehouse.stores import upload
from fraud_mlops.landing.aside import SetAside
from fraud_mlops.sources import SyntheticSource
from fraud_mlops.words import counted

_GENERATED = SourceFile(None, "", "generated claims")


class Origin(Protocol):
    """One source, opened. It can be read more than once, and is the same each time."""

    contract: Contract
    """Resolved."""
    names: Mapping[str, str]
    """The source's name of each canonical column."""
    warnings: tuple[str, ...]
    total: int | None
    """Rows to come, where that is known beforehand."""
    sample: str | None
    """`500 of 15,420 rows`; None when all are read."""

    def converted(self) -> Iterator[Converted]:
        """All rows in canonical columns."""

    def chunks(self) -> Iterator[Chunk]:
        """All rows as the source has them, in the same chunks."""

    def publish_truth(self, uri: str) -> str | None:
        """Writes what is known of the claims beyond the source, if anything is."""


class FileOrigin:
    """Claims in files; in hindsight those up to `as_of`, and what came later is left out.

    before: as its columns were found before. A sample is drawn from the files as they are: in
    hindsight fewer of it remain.
    """

    def __init__(
        self,
        contract: Contract,
        as_of: datetime,
        sample_size: int | None,
        aside: Sequence[SetAside] = (),
        *,
        hindsight: bool = False,
        before: Contract | None = None,
    ) -> None:
        self._source = open_source(contract, {record.file.path for record in aside})
        self._source.require(named_columns(contract))
        self.contract, warnings = infer(contract, self._source, before)
        self.warnings = (
            *warnings,
            *[f"set aside, not read: {r.reason}" for r in aside],
            *[
                f"{name}: passed over, for it has none of the contract's columns; if it holds "
                "claims, write `source.uri` as a pattern that names it (`*.txt`)"
                for name in self._source.passed_over
            ],
        )
        self._source.require(named_columns(self.contract))
        self.names: Mapping[str, str] = source_columns(self.contract)
        self._sample = sample_size
        self._count = self._source.count() if sample_size is not None else None
        self.total = min(sample_size, self._count) if sample_size and self._count else None
        self.sample: str | None = None
        if sample_size is not None and self._count is not None and sample_size < self._count:
            self.sample = f"{sample_size:,} of {self._count:,} rows"
            self.warnings = (*self.warnings, f"a sample: {self.sample}")
        self._as_of, self._hindsight = as_of, hindsight
        self._convert = Converter(self.contract, as_of, self._source.signs, hindsight=hindsight)

    def chunks(self) -> Iterator[Chunk]:
        if self._hindsight:
            return (converted.chunk for converted in self.converted())
        return self._all_chunks()

    def _all_chunks(self) -> Iterator[Chunk]:
        wanted = set(named_columns(self.contract))
        chunks = self._source.chunks([c for c in self._source.columns if c in wanted])
        if self._sample is None or self._count is None:
            return chunks
        return sampled(chunks, self._sample, self._count)

    def converted(self) -> Iterator[Converted]:
        converted = map(self._convert, self._all_chunks())
        return self._until_then(converted) if self._hindsight else converted

    def _until_then(self, every: Iterator[Converted]) -> Iterator[Converted]:
        left_out, moment, warnings = 0, pa.scalar(self._as_of, UTC_TIME), self.warnings
        for converted in every:
            later = mask_of(pc.greater(converted.claims.column(EVENT_TIME), moment))
            left_out += int(later.sum())
            yield converted.only(~later)
        if left_out:
            among = "" if self._sample is None else " of the sample"
            claims = f"{counted(left_out, 'claim')}{among}"
            told = f"{claims} after {self._as_of:%F %H:%M} UTC: left out"
            self.warnings = (*(w for w in warnings if w != told), told)

    def publish_truth(self, uri: str) -> str | None:  # noqa: ARG002 - files know no truth
        return None


class SyntheticOrigin:
    """Generated claims; their true fraud probabilities are kept apart from them."""

    def __init__(
        self,
        contract: Contract,
        as_of: datetime,
        sample_size: int | None,
        seed: int | None,
        folder: Path,
        partitions: PartitionRange | None = None,
    ) -> None:
        source = contract.source
        if not isinstance(source, SyntheticSource):
            raise TypeError(f"{contract.name} is read from files, not generated")
        update = {"claims": sample_size, "seed": seed}
        source = source.model_copy(update={k: v for k, v in update.items() if v is not None})
        self.contract = infer(contract.model_copy(update={"source": source})).contract
        self._behind = source_columns(self.contract)
        _require_generated(self.contract, self._behind)
        self.names: Mapping[str, str] = {name: name for name in self._behind}
        self.warnings: tuple[str, ...] = ()
        self.total: int | None = source.claims
        self.sample: str | None = None  # generated claims are all there are, however many
        self._source = source
        self._as_of = pa.scalar(as_of, UTC_TIME)
        self._truth = folder / "truth.parquet"
        self._partitions = partitions

    def chunks(self) -> Iterator[Chunk]:
        return (converted.chunk for converted in self.converted())

    def converted(self) -> Iterator[Converted]:
        from fraud_mlops.synthetic import generate, truth_schema

        row = 1
        with pq.ParquetWriter(self._truth, truth_schema(), compression="zstd") as truth:
            for claims, known in generate(self._source):
                happened = pc.less_equal(claims.column(EVENT_TIME), self._as_of)
                truth.write_batch(known.filter(self._wanted(claims, happened)))
                batch, immature = self._as_known(claims.filter(happened))
                rows = np.arange(row, row + batch.num_rows, dtype=np.int64)
                row += batch.num_rows
                chunk = Chunk(_GENERATED, batch, rows)
                told = batch.column(LABEL)
                yield Converted(chunk, batch, Faults(batch.num_rows), immature, told)

    def _wanted(self, claims: pa.RecordBatch, happened: pa.Array) -> pa.Array:
        """Nothing is told of partitions that are not to be written."""
        if self._partitions is None:
            return happened
        return pc.and_(happened, pa.array(self._partitions.covers(claims.column(EVENT_TIME))))

    def _as_known(self, claims: pa.RecordBatch) -> tuple[pa.RecordBatch, Mask]:
        """Labels that are known after `as_of` are blank, and so are those beyond the source."""
        known = claims.column(LABEL_TIME)
        unripe = pc.fill_null(pc.greater(known, self._as_of), True)
        for name in (LABEL, LABEL_TIME):
            at = claims.schema.get_field_index(name)
            field = claims.schema.field(at)
            blank = pc.if_else(unripe, pa.scalar(None, field.type), claims.column(at))
            claims = claims.set_column(at, field, blank)
        return self._in_contract(claims), mask_of(unripe)

    def _in_contract(self, claims: pa.RecordBatch) -> pa.RecordBatch:
        """The columns that the contract has, under its names."""
        schema = raw_schema(self.contract)
        columns = [claims.column(self._behind[f.name]).cast(f.type) for f in schema]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def publish_truth(self, uri: str) -> str | None:
        upload(self._truth, uri)
        return uri


def _require_generated(contract: Contract, names: Mapping[str, str]) -> None:
    from fraud_mlops.synthetic import claims_schema

    made = claims_schema().names
    if unknown := sorted(set(names.values()) - set(made)):
        raise ContractError(
            f"{contract.name}: the generator makes no column {', '.join(map(repr, unknown))}; "
            f"name one of {', '.join(made)}, or leave numeric and categorical out to have them all"
        )
