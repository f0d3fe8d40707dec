"""How far two samples lie apart: PSI, Kolmogorov-Smirnov, Jensen-Shannon, a domain classifier.

A numeric sample is float64 [n] with nan for missing; a categorical one is int64 codes [n], shared
by both samples, with -1 for missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BINS = 10
"""Bins of a numeric feature: deciles of the reference."""
PSEUDO_COUNT = 0.5
"""Claims added to every bin, so that an empty one gives no infinite logarithm."""
MOST_MOVED, MOST_SHARE_MOVED = 1.0, 0.25
"""What of a reference's own movement, as PSI and as a share, may count as usual."""
LEAST_EXPECTED = 5
"""Bins in which the smaller sample would expect fewer claims are pooled, as for any chi-square."""
CLASSIFIER_ROWS = 10_000
"""Of each sample; the standard error of a ROC-AUC near 0.5 is then 0.004."""

_FOLDS = 3
_MAX_CATEGORIES = 254  # and one for all others: what HistGradientBoosting takes


class Stability(NamedTuple):
    """expected: mean PSI of two samples of one distribution; degrees: of freedom, bins - 1.

    With n and m claims, PSI / (1/n + 1/m) is then about chi-square distributed (Yurdakul 2018,
    Statistical Properties of Population Stability Index). moved: by how much more than that two
    stretches of the reference, at the least, differed from the rest of it.
    """

    psi: float
    degrees: int
    expected: float
    moved: float = 0.0

    def noise(self, alpha: float) -> float:
        """PSI that is exceeded with probability `alpha` where nothing has changed."""
        from scipy.special import chdtri  # of chi-square, without the weight of scipy.stats

        if not self.degrees:
            return self.moved
        return float(chdtri(self.degrees, alpha) * self.expected / self.degrees) + self.moved

    def excess(self, alpha: float) -> float:
        """PSI over what is usual; 0 within noise."""
        return self.psi - self.expected - self.moved if self.psi > self.noise(alpha) else 0.0


def stability(
    reference: np.ndarray, current: np.ndarray, stretches: Sequence[np.ndarray] = ()
) -> Stability:
    """Population stability index of two samples, each given by its counts in the same bins.

    sum((q - p) * ln(q / p)) over bins, natural logarithm, with PSEUDO_COUNT in every bin: the
    symmetric divergence of Jeffreys (1946), as used in credit scoring (Siddiqi 2006).
    Both samples hold at least one claim. stretches: counts of the reference's parts in time, for
    `moved`. Chance is reckoned as of independent claims, which those of one entity are not, who
    share its history for weeks; and histories follow the season. What the reference went through
    by itself is no news.
    """
    n, m = int(reference.sum()), int(current.sum())
    p, q = _pooled(reference, current)
    bins = len(p)
    p, q = ((c + PSEUDO_COUNT) / (c.sum() + PSEUDO_COUNT * bins) for c in (p, q))
    psi, expected = float((q - p) @ np.log(q / p)), (bins - 1) * (1 / n + 1 / m)
    own = [stability(reference - part, part) for part in stretches if 0 < part.sum() < n]
    moved = _usual([found.psi - found.expected for found in own], MOST_MOVED)
    return Stability(psi, bins - 1, expected, moved)


def _pooled(reference: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The counts, with those of all rare bins put together as the last one; no bin is empty."""
    both = reference + current
    expected = both * min(reference.sum(), current.sum()) / both.sum()
    rare = expected < LEAST_EXPECTED
    if not both[rare].sum():
        return reference[~rare], current[~rare]
    p, q = (np.append(counts[~rare], counts[rare].sum()) for counts in (reference, current))
    return p, q


def share_moved(stretches: Sequence[np.ndarray]) -> float:
    """By how much more than chance the share of true ones among the flags of a stretch differed
    from that of all: as `Stability.moved`, of a share."""
    if not stretches:
        return 0.0
    share = float(np.concatenate(stretches).mean())
    found = [(part.mean() - share) ** 2 - share * (1 - share) / len(part) for part in stretches]
    return float(np.sqrt(_usual(found, MOST_SHARE_MOVED**2)))


def _usual(found: Sequence[float], most: float) -> float:
    """The second largest: a season is longer than a stretch, and one bad month is no excuse."""
    return float(np.clip(sorted(found)[-2], 0.0, most)) if len(found) > 1 else 0.0


def numeric_counts(reference: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Claims of each sample in each bin of the reference's deciles, the last one for missing."""
    edges = decile_edges(reference[~np.isnan(reference)])
    return [_binned(sample, edges) for sample in (reference, *others)]


def decile_edges(values: np.ndarray) -> np.ndarray:
    """Upper edges, included, of all bins but the last one: rising, all different.

    A value that makes up more than one decile, such as the zero of a count, gets a bin of its
    own, so that claims which move below it are seen as well. Empty for no values.
    """
    if not len(values):
        return np.empty(0)
    deciles = np.quantile(values, np.arange(1, BINS) / BINS, method="inverted_cdf")
    edges, times = np.unique(deciles, return_counts=True)
    with np.errstate(over="ignore"):  # what is below the least float is -inf
        return np.union1d(edges, np.nextafter(edges[times > 1], -np.inf))


def _binned(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    missing = np.isnan(values)
    bins = np.searchsorted(edges, values[~missing], side="left")
    return np.append(np.bincount(bins, minlength=len(edges) + 1), missing.sum())


def category_counts(*samples: np.ndarray) -> list[np.ndarray]:
    """Claims of each sample in each category of any, the first one for missing."""
    size = max(int(sample.max(initial=-1)) for sample in samples) + 2
    return [np.bincount(sample + 1, minlength=size) for sample in samples]


def kolmogorov_smirnov(reference: np.ndarray, current: np.ndarray) -> float | None:
    """Greatest distance between the two distribution functions; None when all is missing."""
    present = [np.sort(values[~np.isnan(values)]) for values in (reference, current)]
    if not all(len(values) for values in present):
        return None
    points = np.concatenate(present)
    below = [np.searchsorted(v, points, side="right") / len(v) for v in present]
    return float(np.abs(below[0] - below[1]).max())


def jensen_shannon(reference: np.ndarray, current: np.ndarray) -> float:
    """Jensen-Shannon distance of two samples given by counts: 0 alike to 1 nothing in common.

    The square root of the divergence (Lin 1991) in base 2, which is a metric (Endres and
    Schindelin 2003). Both samples hold at least one claim.
    """
    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    divergence = sum(
        float(s[s > 0] @ np.log2(s[s > 0] / middle[s > 0])) / 2  # 0 * log(0) is 0
        for s in (p, q)
    )
    return float(np.clip(divergence, 0, 1) ** 0.5)


def domain_auc(
    numeric: Sequence[tuple[np.ndarray, np.ndarray]],
    categorical: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    seed: int,
) -> float | None:
    """ROC-AUC, out of fold, of a classifier that tells reference from current claims.

    numeric, categorical: both samples of each feature, in order of time. Gradient-boosted trees
    on as many claims of the one as of the other; 0.5 means that they cannot be told apart. The
    method is that of Lopez-Paz and Oquab 2017 (Revisiting Classifier Two-Sample Tests), but a
    fold is a stretch of time: claims of one entity share their history for weeks, and a
    classifier that has seen some of them knows the others without any drift.
    None when no feature has two different values, known in two stretches of time.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from threadpoolctl import threadpool_limits

    pairs = [*numeric, *categorical]
    if not pairs:
        return None
    picks = _equal_samples(len(pairs[0][0]), len(pairs[0][1]), seed)
    taken = [np.concatenate([v[i] for v, i in zip(pair, picks, strict=True)]) for pair in pairs]
    inputs = [*taken[: len(numeric)], *map(_coded, taken[len(numeric) :])]
    is_category = np.repeat([False, True], [len(numeric), len(categorical)])
    rows = len(picks[0])
    folds = np.tile(np.arange(rows) * _FOLDS // rows, 2)
    varied = np.array([_varies(column, folds) for column in inputs])
    if not varied.any():
        return None
    is_current = np.repeat([0, 1], rows)
    classifier = HistGradientBoostingClassifier(
        max_iter=50,
        early_stopping=False,
        categorical_features=is_category[varied],
        random_state=seed,
    )
    # Threads wait for one another in busy loops: on a machine in use, one is many times faster.
    with threadpool_limits(1):
        scores = cross_val_predict(
            classifier,
            np.column_stack([c for c, keep in zip(inputs, varied, strict=True) if keep]),
            is_current,
            cv=PredefinedSplit(folds),
            method="predict_proba",
        )[:, 1]
    return float(roc_auc_score(is_current, scores))


def domain_auc_noise(n: int, m: int, alpha: float) -> float:
    """ROC-AUC that scores which know nothing exceed with probability `alpha`.

    Normal approximation of the Mann-Whitney statistic, for samples of n and m claims.
    """
    from scipy.stats import norm

    rows = min(n, m, CLASSIFIER_ROWS)
    return float(0.5 + norm.isf(alpha) * ((2 * rows + 1) / (12 * rows**2)) ** 0.5)


def _equal_samples(n: int, m: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = min(n, m, CLASSIFIER_ROWS)
    return np.sort(rng.permutation(n)[:rows]), np.sort(rng.permutation(m)[:rows])


def _coded(codes: np.ndarray) -> np.ndarray:
    """Codes by falling frequency, the rarest ones under one code, nan for missing."""
    counts = np.bincount(codes[codes >= 0], minlength=1)
    rank = np.empty(len(counts))
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.where(codes < 0, np.nan, np.minimum(rank, _MAX_CATEGORIES)[codes])


def _varies(column: np.ndarray, folds: np.ndarray) -> bool:
    """Whether there is something to learn, whichever fold is left out.

    A column that is known in one fold alone has no value in the others, which the trees refuse.
    """
    is_known = ~np.isnan(column)
    known = column[is_known]
    if len(np.unique(folds[is_known])) < 2:
        return False
    return len(known) < len(column) or bool(np.ptp(known))
