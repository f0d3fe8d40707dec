"""Generated claims as Arrow batches, in chunks of any size and the same rows whatever the size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fraud_mlops.sources import SyntheticSource
from fraud_mlops.synthetic import fraud
from fraud_mlops.synthetic.block import BLOCK_ROWS, MISSING, Block, Setting, make_block
from fraud_mlops.synthetic.columns import (
    CATEGORIES,
    NUMERIC,
    claims_schema,
    ids,
    strings,
    timestamps,
    truth_schema,
)

# Of 256 values, how many go missing.
_MISSING_OF_256 = {
    "vehicle_value": 8,
    "driver_age": 5,
    "distance_km": 8,
    "annual_mileage_km": 26,
    "report_delay_hours": 5,
    "police_report": 10,
    "usage": 8,
    "amount_to_guide": 2,
}
_PILOT_CLAIMS = 2 * BLOCK_ROWS


class Chunk(NamedTuple):
    """`claims` in the canonical raw schema; `truth` about the same claims in the same order."""

    claims: pa.RecordBatch
    truth: pa.RecordBatch


def generate(source: SyntheticSource, *, chunk_rows: int = 2 * BLOCK_ROWS) -> Iterator[Chunk]:
    """The source's claims ordered by event time, `chunk_rows` at a time (fewer in the last).

    Rows depend on the source alone. Memory is a chunk and a block, however many claims.
    Labels that would be known after `source.end` are null, and so are their times.
    Raises ValueError when `chunk_rows` is not positive.
    """
    if chunk_rows < 1:
        raise ValueError(f"chunk_rows is {chunk_rows}; give a positive number of rows")
    return _chunks(_blocks(source), chunk_rows)


def _chunks(blocks: Iterator[Chunk], chunk_rows: int) -> Iterator[Chunk]:
    parts: list[Chunk] = []
    wanted = chunk_rows
    for block in blocks:
        offset, rows = 0, block.claims.num_rows
        while offset < rows:
            part = Chunk(*(batch.slice(offset, wanted) for batch in block))
            parts.append(part)
            offset += part.claims.num_rows
            wanted -= part.claims.num_rows
            if not wanted:
                yield _joined(parts)
                parts, wanted = [], chunk_rows
    if parts:
        yield _joined(parts)


def _joined(parts: list[Chunk]) -> Chunk:
    if len(parts) == 1:
        return parts[0]
    claims, truth = zip(*parts, strict=True)
    return Chunk(pa.concat_batches(claims), pa.concat_batches(truth))


def _blocks(source: SyntheticSource) -> Iterator[Chunk]:
    setting = Setting.of(source)
    scale = hazard_scale(source)
    for number in range(-(-source.claims // BLOCK_ROWS)):
        rng = setting.generator(number)
        block = make_block(setting, number, rng)
        probability = fraud.probability(block.hazard.sum(axis=0), scale)
        label, kind = fraud.throw_labels(rng, block.hazard, probability)
        first_row = number * BLOCK_ROWS
        claim_id = ids("CLM-", np.arange(first_row, first_row + len(label), dtype=np.uint64), 3)
        known = block.label_time <= setting.calendar.end
        yield Chunk(
            _claims(block, claim_id, label, known),
            pa.record_batch(
                [claim_id, pa.array(probability), strings(fraud.KINDS, kind)], truth_schema()
            ),
        )


def hazard_scale(source: SyntheticSource) -> float:
    """The factor on hazards that makes the mean fraud probability `source.fraud_rate`.

    Found on a pilot of the source's own seed and period but of a fixed size, so that neither
    the number of claims nor the chunk size has a say in how suspicious a claim is.
    """
    return _pilot_scale(source.model_copy(update={"claims": _PILOT_CLAIMS}))


@lru_cache(maxsize=16)
def _pilot_scale(pilot: SyntheticSource) -> float:
    setting = Setting.of(pilot)
    blocks = range(-(-pilot.claims // BLOCK_ROWS))
    totals = [make_block(setting, n, setting.generator(n)).hazard.sum(axis=0) for n in blocks]
    return fraud.calibrated_scale(np.concatenate(totals), pilot.fraud_rate)


def _claims(
    block: Block, claim_id: pa.Array, label: NDArray[np.int8], known: NDArray[np.bool_]
) -> pa.RecordBatch:
    unknown = None if known.all() else ~known
    missing = {
        name: row < np.uint8(_MISSING_OF_256[name])
        for name, row in zip(MISSING, block.missing, strict=True)
    }
    involved = block.involved
    columns = [
        claim_id,
        timestamps(block.time),
        pa.array(label, mask=unknown),
        timestamps(block.label_time, unknown),
        pa.array(block.cost.amount),
        ids("PLH-", involved.policyholder),
        ids("VEH-", block.vehicle),
        ids("PRV-", involved.provider),
        ids("AGT-", involved.agent),
    ]
    numeric = _numeric(block)
    columns += [
        pa.array(numeric[name].astype(np.float64, copy=False), mask=missing.get(name))
        for name in NUMERIC
    ]
    codes = _codes(block)
    columns += [
        strings(values, codes[name], missing.get(name)) for name, values in CATEGORIES.items()
    ]
    return pa.record_batch(columns, claims_schema())


def _numeric(block: Block) -> dict[str, NDArray[np.floating]]:
    """Values as an insurer's system holds them: whole days and years, rounded measures."""
    holders = block.holders
    return {
        "policy_age_days": block.involved.policy_age,
        "vehicle_age_years": holders.vehicle_age,
        "vehicle_value": np.rint(holders.vehicle_value * np.float32(0.02)) * np.float32(50),
        "driver_age": holders.driver_age,
        "annual_mileage_km": holders.annual_mileage,
        "deductible": block.deductible,
        "report_delay_hours": np.ceil(block.report_delay),
        "distance_km": np.ceil(block.involved.distance),
        "amount_to_guide": np.rint(block.cost.to_guide.astype(np.float64) * 1_000) / 1_000,
        "documents": block.documents,
    }


def _codes(block: Block) -> dict[str, NDArray[np.uint8]]:
    return {
        "peril": block.involved.peril,
        "region": block.holders.region,
        "channel": block.channel,
        "vehicle_class": block.holders.vehicle_class,
        "coverage": block.coverage,
        "police_report": block.police_report,
        "usage": block.usage,
    }
