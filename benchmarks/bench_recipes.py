"""Recipes tried for the networks on vehicle_claims: what each gives out of time, beside the trees.

    python benchmarks/bench_recipes.py [--seeds 3] [--only NAME...] [--jobs 1] [--forward]

Every recipe changes one thing of `tabm-2` as it was before it learnt from a forest. Each is fitted
on the train window and judged on the validation window, then fitted again on both and judged on the
out-of-time window. The second figure chooses nothing: it says what the first could not know.

--forward chooses by forward chaining instead: the last four quarters before the out-of-time window
are each judged by networks that learnt from all claims before. One window says little.
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
    """Logits of each seed, on each stage."""

    logits: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    seconds: float = 0.0


Stages = dict[str, Stage]


def stages(features: FeatureSet) -> Stages:
    train_claims, valid = training_claims(features), validation_claims(features)
    known = labelled(features, "train", known_before=features.split.oot.start)
    return {
        "validation": Stage(train_claims, valid),
        "OOT": Stage(pa.concat_tables([known, valid]), oot_claims(features)),
    }


def quarters(features: FeatureSet) -> Stages:
    """The last four before the out-of-time window, each with the claims before it."""
    claims = stages(features)["OOT"].learnt
    times = claims.column(EVENT_TIME).to_numpy().astype("datetime64[M]")
    end = np.datetime64(features.split.oot.start.replace(tzinfo=None), "M")
    found = {}
    for start in end - np.array([12, 9, 6, 3]):
        judged = (times >= start) & (times < start + 3)
        found[str(start)] = Stage(claims.filter(times < start), claims.filter(judged))
    return found


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


def row(name: str, one: Found, judged: Stages, budget: float) -> str:
    """Figures on each stage, over the seeds; and on all of them where they are quarters."""
    truths = [labels_of(stage.judged) for stage in judged.values()]
    figures = np.array(
        [
            [precision(*pair, budget) for pair in zip(truths, each, strict=True)]
            for each in one.logits
        ]
    )
    if len(judged) > 2:
        figures = np.column_stack([figures, figures.mean(axis=1)])
    spreads = figures.std(axis=0, ddof=1) if len(figures) > 1 else np.zeros(figures.shape[1])
    cells = [f"{m:11.4f}{s:8.4f}" for m, s in zip(figures.mean(axis=0), spreads, strict=True)]
    return f"{name:40}{''.join(cells)}{one.seconds:9.1f}"


def averaged(found: dict[str, Found], names: tuple[str, ...]) -> Found:
    """The mean logit of several networks, each with a standard deviation of one."""
    parts = [found[name] for name in names]
    return Found(
        [
            tuple(
                sum(part.logits[seed][i] / part.logits[seed][i].std() for part in parts)
                for i in range(len(parts[0].logits[seed]))
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
    parser.add_argument("--forward", action="store_true", help="judge four quarters, not OOT")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-recipes-") as folder:
        plan = plan_run(options.dataset, run="Bench/1", output_uri=folder)
        features = prepare(plan, ingest(plan))
        judged = quarters(features) if options.forward else stages(features)
        compare(features, judged, options.only or list(RECIPES), options.seeds, options.jobs)


def compare(features: FeatureSet, judged: Stages, names: list[str], seeds: int, jobs: int) -> None:
    """A row a recipe as it comes, then means of several."""
    budget = features.contract.alerts.budget
    titles = [*judged, *(["mean"] if len(judged) > 2 else [])]
    print(f"\n{'':40}" + "".join(f"{title:>11}{'sd':>8}" for title in titles) + f"{'s a fit':>9}")
    found: dict[str, Found] = {}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        begun = {
            name: [
                [
                    pool.submit(scored, RECIPES[name], stage, features, seed)
                    for stage in judged.values()
                ]
                for seed in range(seeds)
            ]
            for name in names
        }
        for name, fits in begun.items():
            found[name] = ended(fits)
            print(row(name, found[name], judged, budget), flush=True)
    for parts in MEANS:
        if set(parts) <= set(found):
            print(row(f"mean of {', '.join(parts)}"[:39], averaged(found, parts), judged, budget))


def ended(fits: list[list[Future[tuple[np.ndarray, float]]]]) -> Found:
    """fits: of each seed, to the claims of each stage."""
    results = [[fit.result() for fit in each] for each in fits]
    seconds = float(np.mean([took for each in results for _, took in each]))
    return Found([tuple(logits for logits, _ in each) for each in results], seconds)


if __name__ == "__main__":
    main()
