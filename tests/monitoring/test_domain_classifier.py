"""The classifier that tells old claims from new ones, whatever is missing in them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_mlops.monitoring.distances import domain_auc

ROWS = 60
NO_TEXTS: list[tuple[np.ndarray, np.ndarray]] = []


def column(known: slice, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    """Numbers in a stretch of time, missing elsewhere."""
    made = np.full(ROWS, np.nan)
    numbers = np.random.default_rng(seed).normal(shift, 1, ROWS)
    made[known] = numbers[known]
    return made


@pytest.mark.parametrize("known", [slice(0, 10), slice(ROWS - 1, ROWS), slice(0, 0)])
def test_a_column_known_in_one_stretch_of_time_alone_tells_nothing(known: slice) -> None:
    rare = (column(known, 1), column(slice(0, 0)))
    whole = (column(slice(None), 2), column(slice(None), 3))
    assert domain_auc([rare], NO_TEXTS, seed=0) is None
    assert domain_auc([whole, rare], NO_TEXTS, seed=0) == domain_auc([whole], NO_TEXTS, seed=0)


def test_a_column_that_moved_is_told_beside_one_that_is_never_known() -> None:
    empty = (column(slice(0, 0)), column(slice(0, 0)))
    moved = (column(slice(None), 1), column(slice(None), 2, shift=4.0))
    auc = domain_auc([empty, moved], NO_TEXTS, seed=0)
    assert auc is not None
    assert auc > 0.9


@settings(max_examples=25, deadline=None)
@given(
    gaps=st.lists(
        st.tuples(st.integers(0, ROWS), st.integers(0, ROWS)), min_size=2, max_size=2, unique=True
    ),
    texts=st.booleans(),
)
def test_whatever_is_missing_there_is_a_figure_or_none(
    gaps: list[tuple[int, int]], texts: bool
) -> None:
    samples = [column(slice(*gap), seed) for seed, gap in enumerate(gaps)]
    if texts:
        codes = [np.nan_to_num(np.abs(one), nan=-1).astype(int) for one in samples]
        auc = domain_auc([], [(codes[0], codes[1])], seed=0)
    else:
        auc = domain_auc([(samples[0], samples[1])], NO_TEXTS, seed=0)
    assert auc is None or 0 <= auc <= 1
