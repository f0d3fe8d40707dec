"""Raw features to what a network takes: float32 inputs of similar size, and category codes.

Tails stay informative. A quantile transform maps everything above the training maximum to one
value; here a feature is standardised as it is, and where it is heavy-tailed a second time as a
signed logarithm, which goes on rising far beyond the training range. All is fitted on the
training window alone, and stored as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from fraud_mlops.errors import ContractError

LIMIT = 30.0
"""Standardised inputs are clipped to +-30."""
MIN_COUNT = 10
"""Categories seen less often in training are treated as unknown ones."""

_FAR = LIMIT / 2
_LARGEST = 1e100  # squares of larger values would overflow
_NO_VALUE = 1e6  # times the middle of what is not 0: amounts reach a hundredth of it
_BLOCK_ROWS = 1 << 14

Claims: TypeAlias = pa.Table | pa.RecordBatch
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Matrix:
    """n claims as a network takes them.

    numeric: float32 [n, p], finite. categories: int64 [n, c], each 0 <= code < its cardinality.
    beside: numeric columns that say once more, on another scale, what another one says.
    """

    numeric: npt.NDArray[np.float32]
    categories: npt.NDArray[np.int64]
    beside: tuple[int, ...] = ()


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LinearInput(_Model):
    """(x - center) / scale, clipped to +-LIMIT."""

    kind: Literal["linear"] = "linear"
    center: float
    scale: float

    def apply(self, values: Floats) -> Floats:
        return np.clip((values - self.center) / self.scale, -LIMIT, LIMIT)


class LogInput(_Model):
    """(sign(x) log(1 + |x| / unit) - center) / scale, clipped to +-LIMIT."""

    kind: Literal["log"] = "log"
    unit: float
    center: float
    scale: float

    def apply(self, values: Floats) -> Floats:
        return np.clip((signed_log(values, self.unit) - self.center) / self.scale, -LIMIT, LIMIT)


class NumericFeature(_Model):
    """What becomes of one numeric feature; values missing or not finite count as `fill`.

    fill: the median in training. missing: whether an input says that the value was missing, as
    it does when values were missing in training.
    """

    name: str
    fill: float
    inputs: tuple[LinearInput | LogInput, ...]
    missing: bool

    def names(self) -> list[str]:
        kinds = {"linear": self.name, "log": f"{self.name}:log"}
        return [kinds[i.kind] for i in self.inputs] + [f"{self.name}:missing"] * self.missing


class CategoricalFeature(_Model):
    """Values by code, from 1 on; 0 stands for all others. Null is a value like any other."""

    name: str
    values: tuple[str | None, ...]


class Dropped(_Model):
    """A numeric feature that could tell nothing in training, and why."""

    name: str
    reason: Literal["constant", "all missing"]


class Preprocessor(_Model):
    """Fitted preprocessing: `transform` needs the columns it was fitted on, in any order."""

    numeric: tuple[NumericFeature, ...]
    categorical: tuple[CategoricalFeature, ...]
    dropped: tuple[Dropped, ...] = ()

    @classmethod
    def fit(
        cls,
        claims: pa.Table,
        numeric: Sequence[str],
        categorical: Sequence[str],
        *,
        min_count: int = MIN_COUNT,
    ) -> Self:
        """Learn from claims of the training window, all or a sample.

        min_count: how often a category must have been seen to have a code of its own.
        Raises ContractError for columns that are not there or not of their kind.
        """
        _require(claims, (*numeric, *categorical))
        fitted = [_fit_numeric(name, _numbers(claims, name)) for name in numeric]
        return cls(
            numeric=tuple(f for f in fitted if isinstance(f, NumericFeature)),
            categorical=tuple(
                CategoricalFeature(name=name, values=_vocabulary(_texts(claims, name), min_count))
                for name in categorical
            ),
            dropped=tuple(f for f in fitted if isinstance(f, Dropped)),
        )

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """The p numeric inputs: `amount`, `amount:log`, `amount:missing`, ..."""
        return tuple(name for feature in self.numeric for name in feature.names())

    @property
    def input_features(self) -> tuple[str, ...]:
        """The feature that each of the p numeric inputs comes from."""
        return tuple(feature.name for feature in self.numeric for _ in feature.names())

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes of each of the c categorical features."""
        return tuple(len(feature.values) + 1 for feature in self.categorical)

    def transform(self, claims: Claims) -> Matrix:
        """A row a claim. Raises ContractError for columns that are missing or of another kind."""
        needed = [feature.name for feature in self.numeric]
        _require(claims, [*needed, *(category.name for category in self.categorical)])
        rows = claims.num_rows
        numeric = np.empty((rows, len(self.input_names)), dtype=np.float32)
        for start in range(0, rows, _BLOCK_ROWS):  # what is made on the way stays in cache
            block = claims.slice(start, _BLOCK_ROWS)
            self._fill(numeric[start : start + block.num_rows], block)
        categories = np.empty((rows, len(self.categorical)), dtype=np.int64)
        for i, category in enumerate(self.categorical):
            categories[:, i] = _codes(_texts(claims, category.name), category.values)
        return Matrix(numeric, categories, self._beside_logs)

    @cached_property
    def _beside_logs(self) -> tuple[int, ...]:
        """Places of the inputs whose logarithm is an input too."""
        names = frozenset(self.input_names)
        return tuple(i for i, name in enumerate(self.input_names) if f"{name}:log" in names)

    def _fill(self, out: npt.NDArray[np.float32], claims: Claims) -> None:
        place = 0
        for feature in self.numeric:
            values = _numbers(claims, feature.name)
            missing = np.isnan(values)
            known = np.where(missing, feature.fill, values)
            for made in feature.inputs:
                out[:, place] = made.apply(known)
                place += 1
            if feature.missing:
                out[:, place] = missing
                place += 1


def signed_log(values: Floats, unit: float) -> Floats:
    """sign(x) log(1 + |x| / unit): straight around zero, a logarithm far from it."""
    with np.errstate(over="ignore"):  # what is beyond all numbers is cut like what is far out
        return np.copysign(np.log1p(np.abs(values) / unit), values)


def _fit_numeric(name: str, values: Floats) -> NumericFeature | Dropped:
    known = values[~np.isnan(values)]
    if not len(known):
        return Dropped(name=name, reason="all missing")
    missing = len(known) < len(values)
    known = _bulk(known)
    inputs: list[LinearInput | LogInput] = []
    scale = float(known.std())
    if known.min() < known.max() and scale > 0:
        inputs.append(LinearInput(center=float(known.mean()), scale=scale))
        if _heavy_tailed(known):
            inputs.append(_fit_log(known))
    if not inputs and not missing:
        return Dropped(name=name, reason="constant")
    fill = float(np.median(known))
    return NumericFeature(name=name, fill=fill, inputs=tuple(inputs), missing=missing)


def _bulk(known: Floats) -> Floats:
    """Without what is so far out that it can be no value of this kind: a smallest integer for
    "none", say. It would be all that mean and scale see; when it is met it is cut at LIMIT."""
    sizes = np.abs(known)
    if not (sizes > 0).any():
        return known
    return known[sizes <= _NO_VALUE * float(np.median(sizes[sizes > 0]))]


def _heavy_tailed(known: Floats) -> bool:
    """Three values or more, and |skewness| >= 1, excess kurtosis >= 3, or one beyond 15 sigma.

    A normal, a uniform and a logistic distribution are not; an exponential and a Laplace one are.
    So nothing in training comes near LIMIT without a logarithm beside it.
    """
    if np.isin(known, (known.min(), known.max())).all():
        return False
    z = (known - known.mean()) / known.std()
    squares = z * z
    skewness, kurtosis = (squares * z).mean(), (squares * squares).mean() - 3
    return bool(abs(skewness) >= 1 or kurtosis >= 3 or np.abs(z).max() > _FAR)


def _fit_log(known: Floats) -> LogInput:
    """Unit: the tenth percentile of sizes other than 0, so that cents and euros are alike.

    But no less than a trillionth of the largest, whose ratio to it is then a finite number. A
    scale that keeps training within +-15 leaves as much again for what lies beyond it.
    """
    sizes = np.abs(known[known != 0])
    unit = max(float(np.quantile(sizes, 0.1)), float(sizes.max()) * 1e-12)
    logs = signed_log(known, unit)
    center = float(logs.mean())
    scale = max(float(logs.std()), float(np.abs(logs - center).max()) / _FAR)
    return LogInput(unit=unit, center=center, scale=scale)


def _vocabulary(texts: pa.ChunkedArray, min_count: int) -> tuple[str | None, ...]:
    counts = texts.value_counts()
    often = counts.filter(pc.greater_equal(counts.field("counts"), min_count))
    values = often.field("values").to_pylist()
    return (*sorted(v for v in values if v is not None), *([None] if None in values else []))


def _codes(texts: pa.ChunkedArray, values: Sequence[str | None]) -> npt.NDArray[np.int64]:
    known = pc.index_in(texts, value_set=pa.array(values, texts.type))
    places = pc.fill_null(known, -1).to_numpy().astype(np.int64)
    return np.asarray(places + 1)


def _numbers(claims: Claims, name: str) -> Floats:
    """float64, NaN for what is missing or not finite."""
    column = _cast(claims, name, pa.float64(), "numbers")
    values = np.array(column.to_numpy(), dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    return np.clip(values, -_LARGEST, _LARGEST, out=values)


def _texts(claims: Claims, name: str) -> pa.ChunkedArray:
    return _cast(claims, name, pa.string(), "text")


def _cast(claims: Claims, name: str, kind: pa.DataType, what: str) -> pa.ChunkedArray:
    column = claims.column(name)
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    try:
        return column if column.type == kind else column.cast(kind)
    except pa.ArrowException as error:
        raise ContractError(
            f"column {name!r} should hold {what}, not {column.type}: {error}. Mend the source, or "
            "list the column where it belongs in the contract."
        ) from None


def _require(claims: Claims, names: Sequence[str]) -> None:
    present = set(claims.schema.names)
    if missing := [name for name in names if name not in present]:
        raise ContractError(
            f"claims lack {len(missing)} of {len(names)} features: {', '.join(missing[:10])}"
            f"{', ...' if len(missing) > 10 else ''}. Give the columns that the contract names, "
            "with its entity features, under the same names as in training."
        )
