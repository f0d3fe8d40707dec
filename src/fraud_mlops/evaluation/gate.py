"""Whether the challenger replaces the champion."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from fraud_mlops.evaluation.bootstrap import PairedGain, paired_gain
from fraud_mlops.limits import Gate
from fraud_mlops.words import counted

MIN_FRAUDS = 20
"""With fewer frauds out of time no comparison is made: a single fraud that moves from the bottom
of the list to its top would change average precision by 5 points or more."""


class GateDecision(BaseModel):
    """first: there was no champion. promote: replace it. hold: keep it.

    champion: version the challenger was compared with. gain: None where nothing was compared.
    confidence, min_gain: as the contract's gate asks for them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    verdict: Literal["first", "promote", "hold"]
    reason: str
    gain: PairedGain | None
    champion: str | None
    confidence: float
    min_gain: float


def decide(
    labels: np.ndarray,
    challenger: np.ndarray,
    champion_logits: np.ndarray | None,
    *,
    champion_version: str | None,
    gate: Gate,
    seed: int,
    doubt: str | None = None,
    since: datetime | None = None,
    renewed: str | None = None,
) -> GateDecision:
    """The rule, on the labelled claims of the out-of-time window.

    1. Without a champion the challenger is the first.
    2. Where the window cannot judge, or not against what a person has decided, for the reason that
       `doubt` gives, or has fewer than 20 frauds, the champion stays.
    3. The challenger is promoted when P(gain > gate.min_gain) >= gate.confidence, else the
       champion stays. gain is the difference in average precision on the same claims, and P its
       share of `gate.resamples` paired bootstrap resamples.
    4. Where the contract asks for other alerts than the champion's threshold was chosen for, as
       `renewed` says, a challenger that is not worse is promoted: one whose gain may be 0 or more
       by its 95 % interval. Its threshold is what was asked for.

    So equal models hold, and so does a better one that may owe it to chance, as long as the
    contract asks for the same alerts.
    labels, challenger, champion_logits [n]; champion_logits and champion_version both or neither.
    since: the claims are those from then on only, since the champion has learnt from earlier ones.
    """
    if (champion_logits is None) != (champion_version is None):
        raise ValueError("champion_logits and champion_version go together")

    def decision(
        verdict: Literal["first", "promote", "hold"], reason: str, gain: PairedGain | None = None
    ) -> GateDecision:
        return GateDecision(
            verdict=verdict,
            reason=reason,
            gain=gain,
            champion=champion_version,
            confidence=gate.confidence,
            min_gain=gate.min_gain,
        )

    if champion_logits is None:
        return decision("first", "The first champion: there was none before it to be held against.")
    if doubt:
        return decision("hold", f"Champion {champion_version} stays: {doubt}.")
    frauds = int(np.asarray(labels).sum())
    fresh = f" since {since:%F}, until when the champion has learnt" if since else ""
    if frauds < MIN_FRAUDS:
        return decision(
            "hold",
            f"Champion {champion_version} stays: the out-of-time window has "
            f"{counted(frauds, 'fraud')}{fresh}, and a comparison needs {MIN_FRAUDS}.",
        )
    gain = paired_gain(
        labels,
        challenger,
        champion_logits,
        resamples=gate.resamples,
        seed=seed,
        min_gain=gate.min_gain,
    )
    judged_on = f"{frauds:,} out-of-time frauds{fresh}"
    promoted = gain.probability >= gate.confidence
    if not promoted and renewed and gain.gain.high >= 0:
        reason = (
            f"The challenger replaces champion {champion_version}: {renewed}, and on {judged_on} "
            f"it is not worse. {_difference(gain)}."
        )
        return decision("promote", reason, gain)
    return decision(
        "promote" if promoted else "hold",
        _reason(promoted, gain, gate, champion_version, judged_on),
        gain,
    )


def _reason(promoted: bool, gain: PairedGain, gate: Gate, champion: str | None, frauds: str) -> str:
    verdict = f"replaces champion {champion}" if promoted else f"does not replace {champion}"
    least = f"P(gain > {gate.min_gain:g}) = {gain.probability:g}"
    difference = _difference(gain)
    return (
        f"The challenger {verdict}: on {frauds} {difference[0].lower()}{difference[1:]}, and "
        f"{least}, {'at least' if promoted else 'below'} the {gate.confidence:g} asked for."
    )


def _difference(gain: PairedGain) -> str:
    return (
        f"Its average precision differs by {gain.gain.value:+.4f} from the champion's (95 % "
        f"interval {gain.gain.low:+.4f} to {gain.gain.high:+.4f})"
    )
