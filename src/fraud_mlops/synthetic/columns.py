"""Names, categories and Arrow types of the generated claims; strings made at the lowest cost.

An id has a fixed width, so its bytes are written as whole 32-bit words (four digits a word)
from a table of the numbers 0000 to 9999: 13 ns a row whatever the population, where a take
from a pool of ready strings needs memory that grows with it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fraud_mlops.contract import AMOUNT, CLAIM_ID, EVENT_TIME, LABEL, LABEL_TIME
from fraud_mlops.synthetic.perils import PERILS

TIMESTAMP = pa.timestamp("us", tz="UTC")

ENTITIES = ("policyholder", "vehicle", "provider", "agent")

NUMERIC = (
    "policy_age_days",
    "vehicle_age_years",
    "vehicle_value",
    "driver_age",
    "annual_mileage_km",
    "deductible",
    "report_delay_hours",
    "distance_km",
    "amount_to_guide",
    "documents",
)

REGIONS = ("north", "north_east", "east", "south_east", "south", "south_west", "west", "centre")
CHANNELS = ("agent", "phone", "web", "app", "broker")
VEHICLE_CLASSES = ("compact", "saloon", "estate", "suv", "van", "sports", "motorcycle")
COVERAGES = ("third_party", "partial", "comprehensive")
POLICE_REPORTS = ("yes", "no")
USAGES = ("private", "commute", "business")

CATEGORIES: dict[str, tuple[str, ...]] = {
    "peril": PERILS,
    "region": REGIONS,
    "channel": CHANNELS,
    "vehicle_class": VEHICLE_CLASSES,
    "coverage": COVERAGES,
    "police_report": POLICE_REPORTS,
    "usage": USAGES,
}
CATEGORICAL = tuple(CATEGORIES)


def synthetic_contract_columns() -> dict[str, tuple[str, ...]]:
    """What a contract over generated claims has to name: entities, numeric, categorical."""
    return {"entities": ENTITIES, "numeric": NUMERIC, "categorical": CATEGORICAL}


@lru_cache(maxsize=1)
def claims_schema() -> pa.Schema:
    """The canonical raw schema of generated claims."""
    return pa.schema(
        [
            pa.field(CLAIM_ID, pa.string(), nullable=False),
            pa.field(EVENT_TIME, TIMESTAMP, nullable=False),
            pa.field(LABEL, pa.int8()),
            pa.field(LABEL_TIME, TIMESTAMP),
            pa.field(AMOUNT, pa.float64()),
            *(pa.field(name, pa.string()) for name in ENTITIES),
            *(pa.field(name, pa.float64()) for name in NUMERIC),
            *(pa.field(name, pa.string()) for name in CATEGORICAL),
        ]
    )


@lru_cache(maxsize=1)
def truth_schema() -> pa.Schema:
    """claim_id, the true probability, and the kind of fraud that the label came from."""
    return pa.schema(
        [
            pa.field(CLAIM_ID, pa.string(), nullable=False),
            pa.field("fraud_probability", pa.float64(), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
        ]
    )


@lru_cache(maxsize=1)
def _four_digits() -> NDArray[np.uint32]:
    return np.frombuffer("".join(f"{i:04d}" for i in range(10_000)).encode(), np.uint32)


def ids(prefix: str, numbers: NDArray[np.unsignedinteger], groups: int = 2) -> pa.Array:
    """`prefix` (4 ASCII characters) and 4 * `groups` digits of each number, as a string array."""
    rows = len(numbers)
    words = np.empty((rows, groups + 1), np.uint32)
    words[:, 0] = np.frombuffer(prefix.encode(), np.uint32)[0]
    rest = numbers
    for column in range(groups, 0, -1):
        quotient = rest // rest.dtype.type(10_000)
        words[:, column] = _four_digits().take(rest - quotient * rest.dtype.type(10_000))
        rest = quotient
    width = words.itemsize * (groups + 1)
    offsets = np.arange(0, (rows + 1) * width, width, dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(words)]
    )


def strings(
    values: tuple[str, ...], codes: NDArray[np.uint8], missing: NDArray[np.bool_] | None = None
) -> pa.Array:
    """`values[codes]`, null where `missing`."""
    if missing is not None:
        codes = np.where(missing, np.uint8(len(values)), codes)
    return _pool(values).take(pa.array(codes))


@lru_cache(maxsize=64)
def _pool(values: tuple[str, ...]) -> pa.Array:
    return pa.array([*values, None], pa.string())


def timestamps(seconds: NDArray[np.int64], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Seconds since 1970 as timestamp[us, UTC]."""
    return pa.array(seconds * 1_000_000, pa.int64(), mask=missing).view(TIMESTAMP)
