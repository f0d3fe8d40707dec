"""Average precision out of time: our champion against tuned trees, on the same features.

    python benchmarks/bench_quality.py [--dataset synthetic_claims] [--claims 20000] [--trials 8]

Every model gets the same features, the same number of trials, chosen by average precision on the
validation window, is fitted again on train and validation, and is judged on the OOT window; all
of it once a seed. Ours is what the flow would promote; beside it stands the mean of the logits of
the three candidates that are best on the validation window. Trees take the numeric features as they
are and categories as their own kind (LightGBM, XGBoost) or one-hot (forests). On generated claims
the true probabilities give the ceiling.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pyarrow as pa

from fraud_mlops.evaluation.metrics import evaluate
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.models.candidates import draw_candidates
from fraud_mlops.pipeline.choosing import Result, choose
from fraud_mlops.pipeline.ingesting import ingest, prepare
from fraud_mlops.pipeline.plan import RunPlan, plan_run
from fraud_mlops.pipeline.training import (
    refit,
    train_candidate,
    training_claims,
    validation_claims,
)
from fraud_mlops.pipeline.validation import oot_claims
from fraud_mlops.pipeline.windows import labelled, labels_of

MEAN_OF = 3
Fitted = Callable[[pd.DataFrame], np.ndarray]
optuna.logging.set_verbosity(optuna.logging.WARNING)


def frame(claims: pa.Table, features: FeatureSet, levels: dict[str, Any]) -> pd.DataFrame:
    """Features as trees take them; categories coded by what training has seen."""
    data: pd.DataFrame = claims.select([*features.numeric, *features.categorical]).to_pandas()
    for name in features.numeric:
        data[name] = data[name].astype("float32")
    for name in features.categorical:
        levels.setdefault(name, pd.CategoricalDtype(sorted(data[name].dropna().unique())))
        data[name] = data[name].astype("object").astype(levels[name])
    return data


def lightgbm(trial: optuna.Trial, x: pd.DataFrame, y: np.ndarray, seed: int) -> Fitted:
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(
        n_estimators=trial.suggest_int("n_estimators", 50, 600),
        learning_rate=trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
        num_leaves=trial.suggest_int("num_leaves", 4, 128, log=True),
        min_child_samples=trial.suggest_int("min_child_samples", 5, 200, log=True),
        colsample_bytree=trial.suggest_float("colsample_bytree", 0.3, 1.0),
        subsample=trial.suggest_float("subsample", 0.5, 1.0),
        subsample_freq=1,
        reg_lambda=trial.suggest_float("reg_lambda", 1e-3, 30, log=True),
        random_state=seed,
        n_jobs=-1,
        verbose=-1,
    ).fit(x, y)
    return lambda new: np.asarray(model.predict_proba(new))[:, 1]


def xgboost(trial: optuna.Trial, x: pd.DataFrame, y: np.ndarray, seed: int) -> Fitted:
    from xgboost import XGBClassifier

    model = XGBClassifier(
        n_estimators=trial.suggest_int("n_estimators", 50, 600),
        learning_rate=trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
        max_depth=trial.suggest_int("max_depth", 2, 9),
        min_child_weight=trial.suggest_float("min_child_weight", 0.5, 50, log=True),
        colsample_bytree=trial.suggest_float("colsample_bytree", 0.3, 1.0),
        subsample=trial.suggest_float("subsample", 0.5, 1.0),
        reg_lambda=trial.suggest_float("reg_lambda", 1e-3, 30, log=True),
        enable_categorical=True,
        tree_method="hist",
        random_state=seed,
        n_jobs=-1,
    ).fit(x, y)
    return lambda new: model.predict_proba(new)[:, 1]


def forest(trial: optuna.Trial, x: pd.DataFrame, y: np.ndarray, seed: int) -> Fitted:
    from sklearn.ensemble import RandomForestClassifier

    return _forest(RandomForestClassifier, trial, x, y, seed)


def extra_trees(trial: optuna.Trial, x: pd.DataFrame, y: np.ndarray, seed: int) -> Fitted:
    from sklearn.ensemble import ExtraTreesClassifier

    return _forest(ExtraTreesClassifier, trial, x, y, seed)


def _forest(kind: Any, trial: optuna.Trial, x: pd.DataFrame, y: np.ndarray, seed: int) -> Fitted:
    model = kind(
        n_estimators=300,
        max_depth=trial.suggest_int("max_depth", 4, 30),
        min_samples_leaf=trial.suggest_int("min_samples_leaf", 1, 50, log=True),
        max_features=trial.suggest_float("max_features", 0.05, 0.8),
        class_weight=trial.suggest_categorical("class_weight", [None, "balanced_subsample"]),
        random_state=seed,
        n_jobs=-1,
    ).fit(_one_hot(x), y)
    return lambda new: np.asarray(model.predict_proba(_one_hot(new)))[:, 1]


def _one_hot(x: pd.DataFrame) -> pd.DataFrame:
    return pd.get_dummies(x, dtype="float32").fillna(-999)


TREES = {
    "LightGBM": lightgbm,
    "XGBoost": xgboost,
    "random forest": forest,
    "extra trees": extra_trees,
}


def tuned(fit: Any, features: FeatureSet, trials: int, seed: int) -> tuple[np.ndarray, float]:
    """OOT scores of the best of `trials`, and seconds for all of it."""
    began = time.perf_counter()
    levels: dict[str, Any] = {}
    train, valid = training_claims(features), validation_claims(features)
    x, y = frame(train, features, levels), labels_of(train)
    judged, truth = frame(valid, features, levels), labels_of(valid)

    def value(trial: optuna.Trial) -> float:
        scores = fit(trial, x, y, seed)(judged)
        return evaluate(truth, scores, budget=features.contract.alerts.budget)["average_precision"]

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(value, n_trials=trials)
    known = labelled(features, "train", known_before=features.split.oot.start)
    every = pa.concat_tables([known, valid])
    levels = {}
    model = fit(study.best_trial, frame(every, features, levels), labels_of(every), seed)
    return model(frame(oot_claims(features), features, levels)), time.perf_counter() - began


def ours(plan: RunPlan, features: FeatureSet) -> dict[str, tuple[np.ndarray, float]]:
    """OOT logits of the flow's winner, and the mean of those of its best three candidates."""
    began = time.perf_counter()
    results = [
        Result(c, train_candidate(c, features, lambda _: None), None) for c in plan.candidates
    ]
    choice = choose(plan, features, results)
    ranked = [row.name for row in choice.leaderboard.rows if row.name in choice.logits]
    candidates = {r.candidate.name: r.candidate for r in results}
    logits: list[np.ndarray] = []
    seconds: list[float] = []
    for name in ranked[:MEAN_OF]:
        model, _ = refit(candidates[name], features, lambda _: None, threads=plan.threads)
        logits.append(model.logits(oot_claims(features)))
        seconds.append(time.perf_counter() - began)
    valid = [
        evaluate(choice.labels, scores, budget=features.contract.alerts.budget)
        for scores in (
            choice.logits[ranked[0]],
            np.mean([choice.logits[name] for name in ranked[:MEAN_OF]], axis=0),
        )
    ]
    print(
        f"  seed {plan.seed}: winner {choice.winner.name}, average precision on the validation "
        f"window {valid[0]['average_precision']:.4f}; mean of {', '.join(ranked[:MEAN_OF])}: "
        f"{valid[1]['average_precision']:.4f}",
        flush=True,
    )
    return {
        "ours": (logits[0], seconds[0]),
        f"mean of {len(logits)}": (np.mean(logits, axis=0), seconds[-1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="synthetic_claims")
    parser.add_argument("--claims", type=int, default=None)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-quality-") as folder:
        plan = plan_run(
            options.dataset, run="Bench/1", output_uri=folder, sample_size=options.claims
        )
        ingested = ingest(plan)
        features = prepare(plan, ingested)
        labels = labels_of(oot_claims(features))
        budget = features.contract.alerts.budget
        for seed in range(options.seeds):
            update = {"seed": seed, "candidates": tuple(draw_candidates(options.trials, seed))}
            runs = ours(plan.model_copy(update=update), features)
            for name, fit in TREES.items():
                runs[name] = tuned(fit, features, options.trials, seed)
            for name, (scores, seconds) in runs.items():
                figures = evaluate(labels, scores, budget=budget) | {"seconds": seconds}
                found.setdefault(name, []).append(figures)
                print(f"  seed {seed}: {name}: {figures['average_precision']:.4f}", flush=True)
        ceiling = oracle(ingested.truth_uri, features, labels)
    report(options, found, labels, ceiling)


def oracle(truth_uri: str | None, features: FeatureSet, labels: np.ndarray) -> float | None:
    if truth_uri is None:
        return None
    from fraud_mlops.synthetic.truth import true_probabilities

    truth = true_probabilities(truth_uri, oot_claims(features).column("claim_id"))
    return evaluate(labels, truth, budget=features.contract.alerts.budget)["average_precision"]


def report(
    options: argparse.Namespace,
    found: dict[str, list[dict[str, float]]],
    labels: np.ndarray,
    ceiling: float | None,
) -> None:
    means = {n: np.mean([f["average_precision"] for f in fs]) for n, fs in found.items()}
    best = max(means[name] for name in TREES)
    print(
        f"\n{options.dataset}: OOT window of {len(labels):,} claims, {int(labels.sum()):,} frauds; "
        f"{options.trials} trials, {options.seeds} seeds"
    )
    print(
        f"{'':16}{'AP':>8}{'sd':>8}{'/ best tree':>13}{'/ oracle':>10}{'ROC-AUC':>9}{'seconds':>9}"
    )
    for name, figures in found.items():
        aps = [f["average_precision"] for f in figures]
        share = f"{means[name] / ceiling:10.3f}" if ceiling else f"{'-':>10}"
        auc = np.mean([f["roc_auc"] for f in figures])
        seconds = np.mean([f["seconds"] for f in figures])
        ratio = means[name] / best
        print(
            f"{name:16}{means[name]:8.4f}{np.std(aps, ddof=1) if len(aps) > 1 else 0:8.4f}"
            f"{ratio:13.3f}{share}{auc:9.3f}{seconds:9.1f}"
        )
    if ceiling:
        print(f"{'oracle':16}{ceiling:8.4f}{0:8.4f}{ceiling / best:13.3f}{1:10.3f}")


if __name__ == "__main__":
    main()
