"""What becomes of threshold and calibration when the winner is fitted again, out of time.

    python benchmarks/bench_refit.py [--seeds 3] [--sizes 2000 5000 20000]

Both are chosen on validation claims by the logits of the judged network, and taken over by the
refitted one, which has learnt from those claims too. The out-of-time claims are cut in two at
random: on one half, without labels, the refitted logits are put on the judged network's scale by
the straight line between their quantiles; on the other half all three are measured.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from fraud_mlops.evaluation.metrics import evaluate
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.pipeline.choosing import Decision, Result, choose
from fraud_mlops.pipeline.ingesting import ingest, prepare
from fraud_mlops.pipeline.judging import logits_of
from fraud_mlops.pipeline.plan import RunPlan, plan_run
from fraud_mlops.pipeline.training import refit, train_candidate
from fraud_mlops.pipeline.validation import oot_claims
from fraud_mlops.pipeline.windows import labels_of

NETWORKS = ("judged", "refitted", "on its scale")
HALVES = 10
"""Ways to cut the claims in two; figures are means over them."""


def quantile_line(logits: np.ndarray, onto: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the least-squares line through the quantiles of two samples [n]."""
    slope, intercept = np.polyfit(np.sort(logits), np.sort(onto), 1)
    return float(slope), float(intercept)


def out_of_time(
    labels: np.ndarray, judged: np.ndarray, refitted: np.ndarray, decision: Decision, budget: float
) -> np.ndarray:
    """Alerts as a multiple of the budget, and calibration error, of each network: [3, 2]."""
    cuts = []
    for seed in range(HALVES):
        held = np.random.default_rng(seed).random(len(labels)) < 0.5
        slope, intercept = quantile_line(refitted[~held], judged[~held])
        networks = (judged, refitted, slope * refitted + intercept)
        cuts.append([_measured(labels[held], one[held], decision, budget) for one in networks])
    return np.asarray(np.mean(cuts, axis=0))


def _measured(
    labels: np.ndarray, logits: np.ndarray, decision: Decision, budget: float
) -> tuple[float, float]:
    probabilities = decision.calibration.apply(logits)
    measures = evaluate(labels, logits, budget=budget, probabilities=probabilities)
    alerted = (logits >= decision.threshold.value).mean()
    return float(alerted / budget), measures["calibration_error"]


def measured(plan: RunPlan) -> tuple[int, int, np.ndarray]:
    """Claims of validation, those out of time, and the figures of `out_of_time`."""
    features = prepare(plan, ingest(plan))
    trained = [train_candidate(one, features, print) for one in plan.candidates]
    choice = choose(plan, features, [Result(one.candidate, one, None) for one in trained])
    winner = next(one for one in trained if one.candidate == choice.winner)
    again, _ = refit(choice.winner, features, print, threads=plan.threads)
    claims = oot_claims(features)
    found = out_of_time(
        labels_of(claims),
        logits_of(FraudModel.from_files(winner.files), claims),
        logits_of(again, claims),
        choice.decision,
        plan.contract.alerts.budget,
    )
    return len(choice.labels), claims.num_rows, found


def row(name: str, claims: int, judged: int, found: np.ndarray) -> str:
    cells = "".join(f"{share:8.2f}{error:7.3f}" for share, error in found)
    return f"{name:30}{claims:8,}{judged:8,}{cells}"


def show(rows: list[tuple[str, int, int, np.ndarray]]) -> None:
    print(f"\n{'':46}" + "".join(f"{name:>15}" for name in NETWORKS))
    print(f"{'':30}{'valid.':>8}{'OOT':>8}" + f"{'alerts':>8}{'error':>7}" * len(NETWORKS))
    for each in rows:
        print(row(*each))
    figures = np.stack([found for *_, found in rows])
    apart = np.exp(np.abs(np.log(np.maximum(figures[:, :, 0], 0.1))).mean(axis=0))
    means = zip(apart, figures[:, :, 1].mean(axis=0), strict=True)
    cells = "".join(f"{share:8.2f}{error:7.3f}" for share, error in means)
    print(f"{'mean (of alerts: times off, either way)':46}{cells}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", default=[2000, 5000, 20000])
    options = parser.parse_args()
    cases = [("synthetic_claims", size) for size in options.sizes] + [("vehicle_claims", None)]
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-refit-") as folder:
        for dataset, size in cases:
            for seed in range(1, options.seeds + 1):
                name = f"{dataset} {size or ''} seed {seed}".replace("  ", " ")
                at = str(Path(folder, name.replace(" ", "-")))
                plan = plan_run(dataset, run="Bench/1", output_uri=at, sample_size=size, seed=seed)
                rows.append((name, *measured(plan)))
    show(rows)


if __name__ == "__main__":
    main()
