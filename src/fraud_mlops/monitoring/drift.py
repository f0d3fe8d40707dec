"""Whether new claims still look like those the model was trained on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from fraud_mlops.contract import MODEL_SCORE
from fraud_mlops.limits import Drift
from fraud_mlops.monitoring.distances import (
    Stability,
    category_counts,
    domain_auc,
    domain_auc_noise,
    jensen_shannon,
    kolmogorov_smirnov,
    numeric_counts,
    share_moved,
    stability,
)
from fraud_mlops.monitoring.drift_report import (
    DRIFT_VERDICTS,
    DriftReport,
    FeatureDrift,
    Verdict,
)
from fraud_mlops.monitoring.pairs import Pair, categories, numbers, require_columns, sample

MIN_ROWS = 200
"""With fewer claims on either side nothing is judged: a decile would hold fewer than 20."""
FALSE_ALARMS = 0.01
"""Share of reports on unchanged claims in which noise may move any feature; it is divided by the
number of features (Bonferroni)."""

STRETCHES = 12
"""Parts of the reference in time, which tell what it moves by itself."""

_NAMED = 10


def measure_drift(
    reference: pa.Table,
    current: pa.Table,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    limits: Drift,
    score: str | None = MODEL_SCORE,
    apart: Collection[str] = (),
    classifier: bool = True,
    window: str = "current",
    seed: int = 0,
    max_rows: int = 100_000,
) -> DriftReport:
    """Compares the features, and the score, of two sets of claims.

    reference: claims of the training window; current: new claims; both in order of time, which
    the classifier's folds rest on. apart: features that are measured and told, and stand outside
    the verdict, since the reference's histories are not whole. classifier: train one, which takes
    most of the time; else the features are judged one by one. Of a longer table, `max_rows` claims
    drawn with `seed` are used; `rows_*` of the report say how many. An infinite number counts as
    missing. Features that grow with time by construction drift by construction; leave them out.

    A feature drifts when its PSI exceeds what chance and training's own movement explain by at
    least `limits.psi_alert`, or its share of missing values changes by `limits.missing_alert`, each
    beyond chance. From `limits.psi_warn` on it warns. KS and JS are told, not judged. The whole
    drifts when the score does, when `limits.share_alert` of the features do, or when the
    classifier reaches `limits.classifier_alert`; it warns when any feature drifts or warns. With
    fewer than MIN_ROWS claims on either side, or all features apart and no score, it is not
    judged.

    Raises FraudMlopsError for a column that is not in both tables.
    """
    require_columns(reference, current, [*numeric, *categorical, *([score] if score else [])])
    reference, current = sample(reference, max_rows, seed), sample(current, max_rows, seed + 1)
    numerics = {name: numbers(reference, current, name) for name in numeric}
    categoricals = {name: categories(reference, current, name) for name in categorical}
    judge = _Judge(limits, reference.num_rows, current.num_rows, {*numerics, *categoricals}, apart)
    features = (
        *(judge.numeric(name, pair) for name, pair in numerics.items()),
        *(judge.categorical(name, pair) for name, pair in categoricals.items()),
    )
    auc = None
    judged = [pair for name, pair in numerics.items() if name not in judge.apart]
    if judge.enough and classifier and (judged or categoricals):
        auc = domain_auc(judged, [*categoricals.values()], seed=seed)
    scored = judge.numeric(score, numbers(reference, current, score)) if score else None
    verdict, reasons = judge.whole(features, scored, auc)
    return DriftReport(
        window=window,
        rows_reference=reference.num_rows,
        rows_current=current.num_rows,
        features=features,
        score=scored,
        classifier_auc=auc,
        drifted_share=_share(features),
        verdict=verdict,
        reasons=reasons,
    )


class _Judge:
    """Limits, and what chance alone may do with this many claims and features."""

    def __init__(
        self, limits: Drift, n: int, m: int, features: set[str], apart: Collection[str]
    ) -> None:
        self.limits, self.n, self.m = limits, n, m
        self.stretches = min(STRETCHES, n // MIN_ROWS)
        self.enough = min(n, m) >= MIN_ROWS
        self.apart = features.intersection(apart)
        self.alpha = FALSE_ALARMS / max(len(features - self.apart), 1)

    def numeric(self, name: str, pair: Pair) -> FeatureDrift:
        missing = [np.isnan(values) for values in pair]
        psi = None
        if self._any:
            before, now, *parts = numeric_counts(*pair, *self._in_time(pair[0]))
            psi = stability(before, now, parts)
        return self._feature(name, "numeric", psi, missing, ks=kolmogorov_smirnov(*pair))

    def categorical(self, name: str, pair: Pair) -> FeatureDrift:
        missing = [codes < 0 for codes in pair]
        psi = js = None
        if self._any:
            before, now, *parts = category_counts(*pair, *self._in_time(pair[0]))
            psi, js = stability(before, now, parts), jensen_shannon(before, now)
        return self._feature(name, "categorical", psi, missing, js=js)

    def _in_time(self, reference: np.ndarray) -> list[np.ndarray]:
        """The reference's claims in stretches of as many."""
        return np.array_split(reference, self.stretches) if self.stretches > 1 else []

    @property
    def _any(self) -> bool:
        return min(self.n, self.m) > 0

    def _feature(
        self,
        name: str,
        kind: Literal["numeric", "categorical"],
        psi: Stability | None,
        missing: Sequence[np.ndarray],
        *,
        ks: float | None = None,
        js: float | None = None,
    ) -> FeatureDrift:
        before, now = (float(m.mean()) if len(m) else None for m in missing)
        return FeatureDrift(
            feature=name,
            kind=kind,
            psi=psi.psi if psi else None,
            psi_expected=psi.expected if psi else None,
            psi_noise=psi.noise(self.alpha) if psi else None,
            ks=ks,
            js=js,
            missing_reference=before,
            missing_current=now,
            verdict=self._verdict(name, psi, missing),
        )

    def _verdict(
        self, name: str, psi: Stability | None, missing: Sequence[np.ndarray]
    ) -> Literal["stable", "warn", "drift", "too few rows", "not whole"]:
        if not self.enough or psi is None:
            return "too few rows"
        if name in self.apart:
            return "not whole"
        excess = psi.excess(self.alpha)
        if excess >= self.limits.psi_alert or self._goes_missing(*missing):
            return "drift"
        return "warn" if excess >= self.limits.psi_warn else "stable"

    def _goes_missing(self, before: np.ndarray, now: np.ndarray) -> bool:
        """A change of the share by the limit, over what training changed by itself, and more than
        chance (two-proportion z-test)."""
        from scipy.stats import norm

        share = (before.sum() + now.sum()) / (self.n + self.m)
        error = (share * (1 - share) * (1 / self.n + 1 / self.m)) ** 0.5
        change = abs(now.mean() - before.mean()) - share_moved(self._in_time(before))
        return bool(
            change >= self.limits.missing_alert and change > norm.isf(self.alpha / 2) * error
        )

    def whole(
        self, features: Sequence[FeatureDrift], score: FeatureDrift | None, auc: float | None
    ) -> tuple[Verdict, tuple[str, ...]]:
        if not self.enough:
            return "not judged", (
                f"Too few claims: {self.n:,} of training and {self.m:,} new ones, where "
                f"{MIN_ROWS} of each are needed.",
            )
        limits, share = self.limits, _share(features)
        alarms = []
        if score and score.verdict == "drift":
            alarms.append(f"The score has drifted: {_words(score)}.")
        if share and share >= limits.share_alert:
            alarms.append(
                f"{share:.0%} of the features have drifted, from {limits.share_alert:.0%} on the "
                "whole has."
            )
        if auc is not None and self._told_apart(auc):
            alarms.append(
                f"A classifier tells training claims from new ones with a ROC-AUC of {auc:.2f} "
                f"(alert from {limits.classifier_alert:.2f})."
            )
        moved = [f"The score moves: {_words(score)}."] if score and score.verdict == "warn" else []
        for verdict, verb in (("drift", "Drifted"), ("warn", "Moving")):
            moved += _listed(verb, [f for f in features if f.verdict == verdict])
        if alarms or moved:
            return "drift" if alarms else "warn", (*alarms, *moved, *_outside(features))
        if score is None and not _judged(features):
            return "not judged", ("There is nothing to judge by.", *_outside(features))
        calm = "Nothing moves beyond what chance and limits allow."
        return "stable", (calm, *_outside(features))

    def _told_apart(self, auc: float) -> bool:
        noise = domain_auc_noise(self.n, self.m, FALSE_ALARMS)
        return auc >= self.limits.classifier_alert and auc > noise


def _listed(verb: str, features: Sequence[FeatureDrift]) -> list[str]:
    """One sentence that names the features, those with the highest PSI first."""
    if not features:
        return []
    ordered = sorted(features, key=lambda f: (-(f.psi or 0), f.feature))
    more = len(ordered) - _NAMED
    rest = f"; and {more} more" if more > 0 else ""
    named = "; ".join(f"{f.feature} ({_words(f)})" for f in ordered[:_NAMED])
    return [f"{verb}: {named}{rest}."]


def _outside(features: Sequence[FeatureDrift]) -> list[str]:
    names = [f.feature for f in features if f.verdict == "not whole"]
    if not names:
        return []
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [
        "Not judged, since training holds no year of claims with these histories or seasons whole: "
        f"{', '.join(names[:_NAMED])}{rest}."
    ]


def _words(feature: FeatureDrift) -> str:
    words = f"PSI {feature.psi or 0:.2f}"
    before, now = feature.missing_reference or 0.0, feature.missing_current or 0.0
    return f"{words}, missing {before:.0%} -> {now:.0%}" if abs(now - before) >= 0.01 else words


def _judged(features: Sequence[FeatureDrift]) -> list[FeatureDrift]:
    return [f for f in features if f.verdict in DRIFT_VERDICTS]


def _share(features: Sequence[FeatureDrift]) -> float | None:
    judged = _judged(features)
    return sum(f.verdict == "drift" for f in judged) / len(judged) if judged else None
