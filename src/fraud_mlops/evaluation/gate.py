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
    """first: there was no champion. promote: replace it. hold: keep it, or go on without one.

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
    back: str | None = None,
) -> GateDecision:
    """The rule, on the labelled claims of the out-of-time window.

    1. A version that was taken back, of which `back` tells, does not lead, nor where none does.
    2. Without a champion the challenger is the first.
    3. Where the window cannot judge, for the reason that `doubt` gives, or has fewer than 20
       frauds, the champion stays.
    4. The challenger is promoted when P(gain > gate.min_gain) >= gate.confidence, else the
       champion stays. gain is the difference in average precision on the same claims, and P its
       share of `gate.resamples` paired bootstrap resamples.

    So equal models hold, and so does a better one that may owe it to chance.
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

    if back:
        stays = f"Champion {champion_version} stays" if champion_version else "No model leads"
        return decision("hold", f"{stays}: {back}.")
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
    promoted = gain.probability >= gate.confidence
    return decision(
        "promote" if promoted else "hold",
        _reason(promoted, gain, gate, champion_version, f"{frauds:,} out-of-time frauds{fresh}"),
        gain,
    )


def _reason(promoted: bool, gain: PairedGain, gate: Gate, champion: str | None, frauds: str) -> str:
    verdict = f"replaces champion {champion}" if promoted else f"does not replace {champion}"
    least = f"P(gain > {gate.min_gain:g}) = {gain.probability:g}"
    return (
        f"The challenger {verdict}: on {frauds} its average precision differs "
        f"by {gain.gain.value:+.4f} from the champion's (95 % interval {gain.gain.low:+.4f} to "
        f"{gain.gain.high:+.4f}), and {least}, {'at least' if promoted else 'below'} the "
        f"{gate.confidence:g} asked for."
    )
