"""The fitted preprocessing laid out for few claims: some array operations instead of one a feature.

The numbers are those of `Preprocessor.transform`, which walks feature by feature over Arrow
columns: right for millions of claims, and some hundred microseconds for one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fraud_mlops.features.preprocessing import (
    LIMIT,
    LinearInput,
    Matrix,
    Preprocessor,
    signed_log,
)
from fraud_mlops.serving.words import Words, codes

Floats = npt.NDArray[np.float64]

_LARGEST = 1e100
_BLOCK_ROWS = 256


class FastInputs:
    """numeric: the raw numeric features, in the order of the columns that `matrix` is given."""

    def __init__(self, preprocessor: Preprocessor, numeric: Sequence[str]) -> None:
        column = {name: i for i, name in enumerate(numeric)}
        self._fill = np.zeros(len(numeric))
        linear: list[tuple[int, int, float, float]] = []
        logs: list[tuple[int, int, float, float, float]] = []
        missing: list[tuple[int, int]] = []
        place = 0
        for feature in preprocessor.numeric:
            source = column[feature.name]
            self._fill[source] = feature.fill
            for made in feature.inputs:
                if isinstance(made, LinearInput):
                    linear.append((place, source, made.center, made.scale))
                else:
                    logs.append((place, source, made.unit, made.center, made.scale))
                place += 1
            if feature.missing:
                missing.append((place, source))
                place += 1
        self.width = place
        self._linear, self._logs, self._missing = _table(linear), _table(logs), _table(missing)
        self._values: list[dict[str | None, int]] = [
            {v: i + 1 for i, v in enumerate(c.values)} for c in preprocessor.categorical
        ]
        self.categorical = tuple(c.name for c in preprocessor.categorical)

    def numeric(self, values: Floats) -> npt.NDArray[np.float32]:
        """Raw features [n, columns], nan where missing, to inputs [n, width]."""
        out = np.empty((len(values), self.width), dtype=np.float32)
        for start in range(0, len(values), _BLOCK_ROWS):  # what is made on the way stays in cache
            rows = slice(start, start + _BLOCK_ROWS)
            self._fill_in(out[rows], values[rows])
        return out

    def _fill_in(self, out: npt.NDArray[np.float32], values: Floats) -> None:
        finite = np.isfinite(values)
        known = np.where(finite, _cut(values, _LARGEST), self._fill)
        if self._linear:
            place, source, center, scale = self._linear
            out[:, _at(place)] = _cut((known[:, _at(source)] - center) / scale, LIMIT)
        if self._logs:
            place, source, unit, center, scale = self._logs
            logs = signed_log(known[:, _at(source)], unit)  # type: ignore[arg-type]
            out[:, _at(place)] = _cut((logs - center) / scale, LIMIT)
        if self._missing:
            place, source = self._missing
            out[:, _at(place)] = ~finite[:, _at(source)]

    def matrix(self, values: Floats, words: Sequence[Words]) -> Matrix:
        """words: of each category, in the order of `categorical`, n of them."""
        found = codes(words, self._values) if words else np.empty((len(values), 0), dtype=np.int64)
        return Matrix(self.numeric(values), found)

    def is_known(self, category: int, word: str | None) -> bool:
        """Whether training has seen the value often enough to know it; a missing one is."""
        return word is None or word in self._values[category]


def _table(rows: Sequence[tuple[float, ...]]) -> list[Floats]:
    """Columns of the rows; none for no rows."""
    return [np.array(column) for column in zip(*rows, strict=True)]


def _cut(values: Floats, most: float) -> Floats:
    """To +-most; `np.clip` takes three times as long over few values."""
    return np.asarray(np.minimum(np.maximum(values, -most), most))


def _at(places: Floats) -> npt.NDArray[np.int64]:
    return places.astype(np.int64, copy=False)
