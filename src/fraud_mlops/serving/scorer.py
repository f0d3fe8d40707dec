"""A served model: one version of the registry, ready to score claims as they come.

A score here is that of the batch flow to a millionth: the same network on the same inputs. What
differs is the way there, laid out for one claim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fraud_mlops.contract import CLAIM_ID, EVENT_TIME, Contract
from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.features.split import microseconds
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.models.reasons import Explainer, sentence
from fraud_mlops.registry.bundle import Manifest
from fraud_mlops.serving.histories import EntityHistories
from fraud_mlops.serving.inputs import FastInputs
from fraud_mlops.serving.request import FEATURES, ClaimReader, moment_of

Explain = Literal["all", "alerts", "none"]
TOP = 3
ELEVATED = 0.5
"""From this share of the threshold's probability on a claim that is not alerted is `elevated`."""


@dataclass(frozen=True)
class Inputs:
    """n claims, all that is known of them. moments: event times in microseconds since 1970 [n];
    values [n, numeric features] and words [categories][n] of raw features; entities: of each kind
    [n]; matrix: as the network takes them."""

    moments: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    words: list[list[str | None]]
    entities: dict[str, list[str | None]]
    matrix: Matrix

    def digest(self, i: int) -> str:
        """Of a claim's raw features: equal digests, equal features. No way back to the values."""
        told = hashlib.sha256(self.values[i].tobytes())
        words = (column[i] for column in self.words)
        told.update("\x1f".join("\x00" if w is None else w for w in words).encode())
        return told.hexdigest()[:32]


@dataclass(frozen=True)
class Scores:
    """logits float32 [n], by which claims are ranked; probabilities: calibrated; alerts."""

    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float64]
    alerts: npt.NDArray[np.bool_]


class Scorer:
    """model and manifest of one version, with what its contract's entities have done."""

    def __init__(
        self, manifest: Manifest, contract: Contract, model: FraudModel, histories: EntityHistories
    ) -> None:
        self.manifest, self.contract, self.model = manifest, contract, model
        self.histories = histories
        self.version = manifest.version
        self.reader = ClaimReader(contract, model)
        self.numeric = tuple(model.typical.numeric)
        self.inputs = FastInputs(model.preprocessor, self.numeric)
        self.categorical = self.inputs.categorical
        self._word = {name: i for i, name in enumerate(self.categorical)}
        place = {name: i for i, name in enumerate(self.numeric)}
        own = [name for name in self.reader.numeric if name in place]
        self._own = [(name, place[name]) for name in own]
        derived = [(i, place[n]) for i, n in enumerate(histories.names) if n in place]
        self._derived_from = np.array([i for i, _ in derived], dtype=np.int64)
        self._derived_to = np.array([i for _, i in derived], dtype=np.int64)
        self._derived = {histories.names[i]: to for i, to in derived}
        self._explainer = Explainer(model)
        self._limit = np.inf if model.threshold is None else model.threshold
        at = np.array([self._limit], dtype=np.float32)
        self.threshold_probability = (
            float(model.calibrated(at)[0]) if np.isfinite(self._limit) else None
        )

    def prepare(self, claims: Sequence[Any]) -> Inputs:
        """Features of claims as the reader gives them."""
        reader, n = self.reader, len(claims)
        moments = np.array([microseconds(moment_of(c)) for c in claims], dtype=np.int64)
        values = np.full((n, len(self.numeric)), np.nan)
        for name, at in self._own:
            values[:, at] = [_nan(reader.number(claim, name)) for claim in claims]
        entities = {e: [reader.word(c, e) for c in claims] for e in reader.entities}
        self._look_up(values, moments, entities)
        for i, claim in enumerate(claims):
            brought = getattr(claim, FEATURES, None)
            for name in brought.model_fields_set if brought is not None else ():
                value = getattr(brought, name)
                if name in self._derived and value is not None:
                    values[i, self._derived[name]] = value
        words = [[reader.word(claim, name) for claim in claims] for name in self.categorical]
        return Inputs(moments, values, words, entities, self.inputs.matrix(values, words))

    def prepared(
        self,
        moments: npt.NDArray[np.int64],
        own: dict[str, npt.NDArray[np.float64]],
        entities: dict[str, list[str | None]],
        categories: dict[str, list[str | None]],
    ) -> Inputs:
        """Features of claims that come as columns; what derived ones among `own` hold goes before
        look-ups, claim by claim."""
        words = [categories[name] for name in self.categorical]
        values = np.full((len(moments), len(self.numeric)), np.nan)
        self._look_up(values, moments, entities)
        for place, name in enumerate(self.numeric):
            if name in self._derived and name in own:
                brought = ~np.isnan(own[name])
                values[brought, place] = own[name][brought]
            elif name in own:
                values[:, place] = own[name]
        return Inputs(moments, values, words, entities, self.inputs.matrix(values, words))

    def score(self, inputs: Inputs) -> Scores:
        logits = self.model.matrix_logits(inputs.matrix)
        return Scores(logits, self.model.calibrated(logits), logits >= self._limit)

    def band(self, alert: bool, probability: float) -> str:
        """high: alerted; elevated: no alert, but half way there or more; else low."""
        if alert:
            return "high"
        limit = self.threshold_probability
        return "elevated" if limit is not None and probability >= ELEVATED * limit else "low"

    def reasons(self, inputs: Inputs, rows: Sequence[int]) -> list[list[dict[str, Any]]]:
        """For each row what raises its logit most, strongest first, as `reasons` has it in words.

        contribution: in logits. All contributions of a claim, those not shown too, add up to its
        logit less that of the average training claim (integrated gradients; see
        `models.reasons.attributions`).
        """
        at = np.asarray(rows, dtype=np.int64)
        matrix = Matrix(inputs.matrix.numeric[at], inputs.matrix.categories[at])
        shares = self._explainer(matrix)
        order = np.argsort(-shares, axis=1, kind="stable")[:, :TOP]
        told = []
        for i, row in enumerate(at.tolist()):
            features = [j for j in order[i].tolist() if shares[i, j] > 0]
            told.append([self._reason(inputs, row, j, float(shares[i, j])) for j in features])
        return told

    def warnings(self, inputs: Inputs, i: int) -> list[dict[str, str]]:
        """What was scored as in training although it is not as it should be."""
        words = [column[i] for column in inputs.words]
        found = [
            {"code": "unknown_category", "field": name, "detail": _UNKNOWN}
            for place, name in enumerate(self.categorical)
            if not self.inputs.is_known(place, words[place])
        ]
        missing = [n for n, at in self._own if np.isnan(inputs.values[i, at])]
        missing += [n for n, word in zip(self.categorical, words, strict=True) if word is None]
        missing += [entity for entity, given in inputs.entities.items() if given[i] is None]
        found += [{"code": "missing_value", "field": n, "detail": _MISSING} for n in missing]
        return found + self._about_histories(int(inputs.moments[i]))

    def flagged(self, inputs: Inputs) -> list[int]:
        """Rows that `warnings` may have something to say of; most have none."""
        flags = np.isnan(inputs.values[:, [at for _, at in self._own]]).any(axis=1)
        flags |= (inputs.matrix.categories == 0).any(axis=1)
        for column in (*inputs.words, *inputs.entities.values()):
            if None in column:
                flags |= np.array([word is None for word in column])
        facts = self.histories.facts
        if self.reader.entities and facts is None:
            flags[:] = True
        elif self.reader.entities and facts is not None:
            flags |= inputs.moments < microseconds(facts.exact_from)
            flags |= inputs.moments > microseconds(facts.until) + _STALE
        return [int(i) for i in np.flatnonzero(flags)]

    def explain(self, inputs: Inputs, scores: Scores, which: Explain) -> dict[int, list[Any]]:
        """Reasons by row of the claims that are to have some."""
        if which == "none":
            return {}
        rows = range(len(scores.logits)) if which == "all" else np.flatnonzero(scores.alerts)
        wanted = [int(i) for i in rows]
        return dict(zip(wanted, self.reasons(inputs, wanted), strict=True)) if wanted else {}

    def _look_up(
        self,
        values: npt.NDArray[np.float64],
        moments: npt.NDArray[np.int64],
        entities: dict[str, list[str | None]],
    ) -> None:
        if len(self._derived_to):
            found = self.histories.features(moments, entities)
            values[:, self._derived_to] = found[:, self._derived_from]

    def _reason(self, inputs: Inputs, row: int, feature: int, share: float) -> dict[str, Any]:
        numeric = len(self.numeric)
        name = self.model.features[feature]
        value: float | str | None
        if feature < numeric:
            number = float(inputs.values[row, feature])
            value, typical = _none(number), self.model.typical.numeric.get(name)
            return _told(self.model, name, value, typical, share)
        value = inputs.words[self._word[name]][row]
        return _told(self.model, name, value, self.model.typical.categorical.get(name), share)

    def _about_histories(self, moment: int) -> list[dict[str, str]]:
        if not self.reader.entities:
            return []
        facts = self.histories.facts
        if facts is None:
            return [{"code": "no_entity_state", "field": FEATURES, "detail": _NO_STATE}]
        if moment < microseconds(facts.exact_from):
            detail = f"Histories are whole for claims from {facts.exact_from:%F} on."
            return [{"code": "before_entity_state", "field": EVENT_TIME, "detail": detail}]
        if moment > microseconds(facts.until) + _STALE:
            detail = f"Histories know of claims until {facts.until:%F %H:%M} UTC; score to renew."
            return [{"code": "stale_entity_state", "field": EVENT_TIME, "detail": detail}]
        return []


_UNKNOWN = "Training has hardly seen this value; it was scored as an unknown one."
_MISSING = "Scored as missing, as in training."
_NO_STATE = "No entity state is published; every entity counts as new. Run the scoring flow."
_STALE = 2 * 86_400_000_000


def _told(model: FraudModel, name: str, value: Any, typical: Any, share: float) -> dict[str, Any]:
    text = sentence(model, name, value)
    return {
        "feature": name, "value": value, "typical": typical, "contribution": share, "text": text
    }  # fmt: skip


def _nan(value: float | None) -> float:
    return np.nan if value is None else value


def _none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def answer(
    scorer: Scorer, claim_id: str | None, moment: datetime, scores: Scores, i: int
) -> dict[str, Any]:
    """What is told of claim i in any format, before reasons and warnings."""
    probability, alert = float(scores.probabilities[i]), bool(scores.alerts[i])
    return {
        CLAIM_ID: claim_id,
        EVENT_TIME: moment.isoformat(),
        "model_version": scorer.version,
        "score": float(scores.logits[i]),
        "probability": probability,
        "band": scorer.band(alert, probability),
        "alert": alert,
    }
