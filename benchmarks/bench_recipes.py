"""Recipes tried for the networks on vehicle_claims: what each gives out of time, beside the trees.

    python benchmarks/bench_recipes.py [--seeds 3] [--only NAME...]

Every recipe changes one thing of the candidate `tabm-2`, which is chosen for this dataset. Each is
fitted on the train window and judged on the validation window, then fitted again on both and judged
on the out-of-time window. The second figure chooses nothing: it says what the first could not know.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from recipe_inputs import riskier, with_target_statistics
from recipe_training import Extra, learn

from fraud_mlops.contract import EVENT_TIME
from fraud_mlops.evaluation.metrics import evaluate
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.features.preprocessing import Preprocessor
from fraud_mlops.models.candidates import DEFAULTS, Candidate
from fraud_mlops.models.fraud_model import FraudModel, TypicalClaim
from fraud_mlops.models.networks import FraudNetwork
from fraud_mlops.models.params import Params
from fraud_mlops.models.training import train
from fraud_mlops.pipeline.ingesting import ingest, prepare
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.training import training_claims, validation_claims
from fraud_mlops.pipeline.validation import oot_claims
from fraud_mlops.pipeline.windows import days_before, labelled, labels_of

BASE = DEFAULTS[3]


@dataclass(frozen=True)
class Recipe:
    """params: what changes of the candidate. extra: what the library's training does not have."""

    params: Params = BASE
    extra: Extra | None = None
    statistics: bool = False


def changed(**update: Any) -> Recipe:
    return Recipe(BASE.model_copy(update=update))


def added(**update: Any) -> Recipe:
    return Recipe(extra=Extra(**update))


RECIPES: dict[str, Recipe] = {
    "tabm-2, the candidate": Recipe(),
    "tabm-1": Recipe(DEFAULTS[0]),
    "mlp-1": Recipe(DEFAULTS[1]),
    "logistic-1": Recipe(DEFAULTS[2]),
    "no base-rate offset": changed(base_rate_period=None),
    "40 epochs": changed(epochs=40),
    "five members": changed(members=5),
    "pairwise loss, a half": changed(pairwise=0.5),
    "pairwise loss alone": changed(pairwise=1.0),
    "half-life of 180 days": changed(recency_half_life=180.0),
    "label smoothing 0.05": changed(label_smoothing=0.05),
    "a fraud counts five times": changed(fraud_weight=5.0),
    "dropout 0.4": changed(dropout=0.4),
    "target statistics": Recipe(statistics=True),
    "loop of this benchmark": added(),
    "monotone hints": added(hints=0.5),
    "focal loss": added(focal=2.0),
    "swap noise, a tenth": added(swap=0.1),
    "mixup of numbers": added(mixup=0.2),
    "averaged weights": added(average=True),
}


@dataclass(frozen=True)
class Stage:
    """Claims to learn from, and claims to be judged on."""

    learnt: pa.Table
    judged: pa.Table


@dataclass
class Found:
    """Logits of each seed, on the validation and the out-of-time window."""

    logits: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    seconds: float = 0.0


def stages(features: FeatureSet) -> tuple[Stage, Stage]:
    train_claims, valid = training_claims(features), validation_claims(features)
    known = labelled(features, "train", known_before=features.split.oot.start)
    return (
        Stage(train_claims, valid),
        Stage(pa.concat_tables([known, valid]), oot_claims(features)),
    )


def scored(recipe: Recipe, stage: Stage, features: FeatureSet, seed: int) -> np.ndarray:
    """Logits of the judged claims, of a network that learnt from the others."""
    numeric, learnt, judged = list(features.numeric), stage.learnt, stage.judged
    if recipe.statistics:
        learnt, judged, names = with_target_statistics(learnt, judged, features.categorical)
        numeric += names
    candidate = Candidate(name="recipe", params=recipe.params, seed=seed)
    preprocessor = Preprocessor.fit(learnt, numeric, features.categorical)
    network = _network(recipe, candidate, preprocessor, learnt)
    typical = TypicalClaim.of(learnt, numeric, features.categorical)
    return FraudModel(candidate, preprocessor, network, typical).logits(judged)


def _network(
    recipe: Recipe, candidate: Candidate, preprocessor: Preprocessor, claims: pa.Table
) -> FraudNetwork:
    ages = days_before(claims, EVENT_TIME, claims.column(EVENT_TIME)[-1].as_py())
    matrix, labels = preprocessor.transform(claims), labels_of(claims)
    if recipe.extra is None:
        given = (candidate, matrix, labels, preprocessor.cardinalities)
        return train(*given, threads=1, device="cpu", ages=ages)[0]
    moved = [preprocessor.transform(table) for table in riskier(claims)]
    return learn(candidate, matrix, labels, preprocessor.cardinalities, ages, recipe.extra, moved)


def precision(labels: np.ndarray, logits: np.ndarray, budget: float) -> float:
    return evaluate(labels, logits, budget=budget)["average_precision"]


def rows(
    found: dict[str, Found], both: tuple[Stage, Stage], budget: float
) -> Iterator[tuple[str, list[float], list[float], float]]:
    """A recipe's name, its figures on either window by seed, seconds of a fit."""
    truths = [labels_of(stage.judged) for stage in both]
    for name, one in found.items():
        figures = [
            [precision(t, pair[i], budget) for pair in one.logits] for i, t in enumerate(truths)
        ]
        yield name, figures[0], figures[1], one.seconds


def averaged(found: dict[str, Found], names: list[str]) -> Found:
    """The mean logit of several networks, each with a standard deviation of one."""
    parts = [found[name] for name in names]
    return Found(
        [
            tuple(
                sum(part.logits[seed][i] / part.logits[seed][i].std() for part in parts)
                for i in (0, 1)
            )
            for seed in range(len(parts[0].logits))
        ],
        sum(part.seconds for part in parts),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="vehicle_claims")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=RECIPES, metavar="NAME")
    options = parser.parse_args()
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory(prefix="bench-recipes-") as folder:
        plan = plan_run(options.dataset, run="Bench/1", output_uri=folder)
        features = prepare(plan, ingest(plan))
        both = stages(features)
        for name in options.only or RECIPES:
            found[name] = tried(RECIPES[name], both, features, options.seeds)
            print(f"  {name}: {found[name].seconds:.1f} s a fit", flush=True)
    if not options.only:
        found["mean of tabm-1, tabm-2, mlp-1"] = averaged(
            found, ["tabm-1", "tabm-2, the candidate", "mlp-1"]
        )
        found["mean of tabm-2 and target statistics"] = averaged(
            found, ["tabm-2, the candidate", "target statistics"]
        )
    report(rows(found, both, features.contract.alerts.budget))


def tried(recipe: Recipe, both: tuple[Stage, Stage], features: FeatureSet, seeds: int) -> Found:
    began = time.perf_counter()
    logits = [
        (scored(recipe, both[0], features, seed), scored(recipe, both[1], features, seed))
        for seed in range(seeds)
    ]
    return Found(logits, (time.perf_counter() - began) / (2 * seeds))


def report(lines: Iterator[tuple[str, list[float], list[float], float]]) -> None:
    print(f"\n{'':40}{'validation':>11}{'sd':>8}{'OOT':>8}{'sd':>8}{'s a fit':>9}")
    for name, valid, oot, seconds in lines:
        figures = "".join(f"{np.mean(f):{w}.4f}{_sd(f):8.4f}" for f, w in ((valid, 11), (oot, 8)))
        print(f"{name:40}{figures}{seconds:9.1f}")


def _sd(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
