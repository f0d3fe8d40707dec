"""Recipes tried for the networks on vehicle_claims: what each gives out of time, beside the trees.

    python benchmarks/bench_recipes.py [--seeds 3] [--only NAME...] [--jobs 1]

Every recipe changes one thing of `tabm-2` as it was before it learnt from a forest. Each is fitted
on the train window and judged on the validation window, then fitted again on both and judged on the
out-of-time window. The second figure chooses nothing: it says what the first could not know.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import Future, ProcessPoolExecutor
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

BASE = DEFAULTS[3].model_copy(update={"distillation": 0.0, "base_rate_period": 30.0})


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
    "labels alone": Recipe(),
    "tabm-2: distillation, no base-rate offset": Recipe(DEFAULTS[3]),
    "distillation": changed(distillation=0.5),
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


MEANS = (("labels alone", "tabm-1", "mlp-1"), ("labels alone", "target statistics"))


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


def scored(
    recipe: Recipe, stage: Stage, features: FeatureSet, seed: int
) -> tuple[np.ndarray, float]:
    """Logits of the judged claims, of a network that learnt from the others; seconds of it."""
    began = time.perf_counter()
    numeric, learnt, judged = list(features.numeric), stage.learnt, stage.judged
    if recipe.statistics:
        learnt, judged, names = with_target_statistics(learnt, judged, features.categorical)
        numeric += names
    candidate = Candidate(name="recipe", params=recipe.params, seed=seed)
    preprocessor = Preprocessor.fit(learnt, numeric, features.categorical)
    network = _network(recipe, candidate, preprocessor, learnt)
    typical = TypicalClaim.of(learnt, numeric, features.categorical)
    logits = FraudModel(candidate, preprocessor, network, typical).logits(judged)
    return logits, time.perf_counter() - began


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


def row(name: str, one: Found, both: tuple[Stage, Stage], budget: float) -> str:
    """Figures on either window, over the seeds."""
    cells = []
    for i, stage in enumerate(both):
        truth = labels_of(stage.judged)
        figures = [precision(truth, pair[i], budget) for pair in one.logits]
        spread = np.std(figures, ddof=1) if len(figures) > 1 else 0.0
        cells.append(f"{np.mean(figures):11.4f}{spread:8.4f}")
    return f"{name:40}{''.join(cells)}{one.seconds:9.1f}"


def averaged(found: dict[str, Found], names: tuple[str, ...]) -> Found:
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
    parser.add_argument("--jobs", type=int, default=1, help="fits at a time, of one thread each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-recipes-") as folder:
        plan = plan_run(options.dataset, run="Bench/1", output_uri=folder)
        features = prepare(plan, ingest(plan))
        compare(features, options.only or list(RECIPES), options.seeds, options.jobs)


def compare(features: FeatureSet, names: list[str], seeds: int, jobs: int) -> None:
    """A row a recipe as it comes, then means of several."""
    both, budget = stages(features), features.contract.alerts.budget
    print(f"\n{'':40}{'validation':>11}{'sd':>8}{'OOT':>11}{'sd':>8}{'s a fit':>9}")
    found: dict[str, Found] = {}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        begun = {
            name: [
                [pool.submit(scored, RECIPES[name], stage, features, seed) for stage in both]
                for seed in range(seeds)
            ]
            for name in names
        }
        for name, fits in begun.items():
            found[name] = ended(fits)
            print(row(name, found[name], both, budget), flush=True)
    for parts in MEANS:
        if set(parts) <= set(found):
            print(row(f"mean of {', '.join(parts)}"[:39], averaged(found, parts), both, budget))


def ended(fits: list[list[Future[tuple[np.ndarray, float]]]]) -> Found:
    """fits: of each seed, to the validation and to the out-of-time window."""
    pairs = [[fit.result() for fit in pair] for pair in fits]
    seconds = float(np.mean([took for pair in pairs for _, took in pair]))
    return Found([(first[0], second[0]) for first, second in pairs], seconds)


if __name__ == "__main__":
    main()
