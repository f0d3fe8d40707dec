"""When a challenger replaces the champion, and when it does not."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from fraud_mlops.evaluation.gate import GateDecision, decide
from fraud_mlops.limits import Gate

GATE = Gate(resamples=200)


def claims(n: int = 1500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.1).astype(np.int8)
    return labels, rng.normal(size=n) + 1.5 * labels


def noisy(scores: np.ndarray, by: float, seed: int = 7) -> np.ndarray:
    return scores + np.random.default_rng(seed).normal(0, by, len(scores))


def decided(labels, challenger, champion, gate: Gate = GATE, seed: int = 0) -> GateDecision:
    return decide(labels, challenger, champion, champion_version="v7", gate=gate, seed=seed)


def test_the_first_model_needs_to_beat_nobody_even_on_few_frauds() -> None:
    labels, scores = claims(30)
    decision = decide(labels, scores, None, champion_version=None, gate=GATE, seed=0)
    assert decision.verdict == "first"
    assert decision.gain is decision.champion is None


def test_a_clearly_better_challenger_is_promoted_and_the_reason_has_the_figures() -> None:
    labels, good = claims()
    decision = decided(labels, good, noisy(good, 2))
    assert decision.verdict == "promote"
    assert decision.gain.probability >= 0.95
    assert f"{decision.gain.gain.value:+.4f}" in decision.reason
    assert "replaces champion v7" in decision.reason
    assert f"{labels.sum()} out-of-time frauds" in decision.reason


def test_a_worse_challenger_never_replaces_the_champion() -> None:
    for seed in range(20):
        labels, good = claims(seed=seed)
        assert decided(labels, noisy(good, 2, seed), good, seed=seed).verdict == "hold"


def test_the_same_model_again_holds() -> None:
    labels, scores = claims()
    decision = decided(labels, scores, scores.copy())
    assert decision.verdict == "hold"
    assert decision.gain.probability == 0
    assert "does not replace v7" in decision.reason


def test_of_equally_good_challengers_few_pass_by_chance() -> None:
    promoted = 0
    for seed in range(60):
        labels, truth = claims(800, seed)
        pair = noisy(truth, 0.7, 2 * seed), noisy(truth, 0.7, 2 * seed + 1)
        promoted += decided(labels, *pair, Gate(resamples=100), seed).verdict == "promote"
    assert promoted <= 8  # 3 are expected at a confidence of 0.95


def test_the_contract_can_ask_for_a_least_gain() -> None:
    labels, good = claims()
    poor = noisy(good, 2)
    gain = decided(labels, good, poor).gain.gain.value
    demanding = decided(labels, good, poor, Gate(resamples=200, min_gain=gain + 0.05))
    assert demanding.verdict == "hold"
    assert demanding.min_gain == gain + 0.05


def test_the_contract_can_ask_for_less_confidence() -> None:
    labels, good = claims(seed=1)
    slightly_worse = noisy(good, 0.15)
    probability = decided(labels, good, slightly_worse).gain.probability
    assert 0.5 < probability < 0.95
    assert decided(labels, good, slightly_worse).verdict == "hold"
    assert decided(labels, good, slightly_worse, Gate(confidence=0.5)).verdict == "promote"


@pytest.mark.parametrize(("frauds", "verdict"), [(19, "hold"), (20, "promote")])
def test_below_20_frauds_nothing_is_compared(frauds: int, verdict: str) -> None:
    labels = (np.arange(500) >= 500 - frauds).astype(np.int8)
    good, poor = np.arange(500.0), -np.arange(500.0)
    decision = decided(labels, good, poor)
    assert decision.verdict == verdict
    if verdict == "hold":
        assert decision.gain is None
        assert "19 frauds" in decision.reason
        assert "needs 20" in decision.reason


def test_where_the_window_cannot_judge_the_champion_stays_and_the_reason_is_said() -> None:
    labels, good = claims()
    decision = decide(
        labels, good, noisy(good, 2),
        champion_version="v7", gate=GATE, seed=0, doubt="few of the claims have a label",
    )  # fmt: skip
    assert decision.verdict == "hold"
    assert decision.gain is None
    assert decision.reason == "Champion v7 stays: few of the claims have a label."


def test_a_comparison_on_part_of_the_window_says_since_when() -> None:
    labels, good = claims()
    since = datetime(2024, 5, 1, tzinfo=UTC)
    for rows in (slice(None), slice(30)):
        decision = decide(
            labels[rows], good[rows], noisy(good, 2)[rows],
            champion_version="v7", gate=GATE, seed=0, since=since,
        )  # fmt: skip
        assert "frauds since 2024-05-01, until when the champion has learnt" in decision.reason


def test_a_decision_survives_json_and_is_the_same_for_a_seed() -> None:
    labels, good = claims()
    decision = decided(labels, good, noisy(good, 0.5), seed=4)
    assert decision == decided(labels, good, noisy(good, 0.5), seed=4)
    assert GateDecision.model_validate_json(decision.model_dump_json()) == decision


def test_scores_of_a_champion_without_its_version_are_a_mistake() -> None:
    labels, scores = claims(100)
    with pytest.raises(ValueError, match="go together"):
        decide(labels, scores, scores, champion_version=None, gate=GATE, seed=0)


def test_a_challenger_that_is_not_worse_brings_the_threshold_that_the_contract_asks_for() -> None:
    labels, scores = claims()
    renewed = "the alert budget is 2% now, 10% before"
    held = {"champion_version": "v7", "gate": GATE, "seed": 0}
    same = decide(labels, scores, scores.copy(), **held, renewed=renewed)
    assert same.verdict == "promote"
    assert same.reason == (
        f"The challenger replaces champion v7: {renewed}, and on {labels.sum()} out-of-time frauds "
        "it is not worse. Its average precision differs by +0.0000 from the champion's (95 % "
        "interval +0.0000 to +0.0000)."
    )
    worse = decide(labels, noisy(scores, 2), scores, **held, renewed=renewed)
    assert worse.verdict == "hold"
    assert worse.gain is not None
    assert worse.gain.gain.high < 0
    assert decide(labels, scores, scores.copy(), **held).verdict == "hold"
    judging = decide(labels, scores, scores.copy(), **held, renewed=renewed, doubt="few labels")
    assert judging.verdict == "hold"
