"""A served model: one version of the registry, ready to score claims as they come.

A score here is that of the batch flow to a millionth: the same weights on the same inputs. What
differs is the way there, laid out for one claim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fraud_mlops.claims.schema import unsaid_columns
from fraud_mlops.contract import EVENT_TIME, FEATURES, Contract
from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.features.split import microseconds
from fraud_mlops.features.windows import lookbacks
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.models.reasons import sentence
from fraud_mlops.registry.bundle import Manifest
from fraud_mlops.serving.examples import Example, Tried
from fraud_mlops.serving.histories import EntityHistories
from fraud_mlops.serving.inputs import FastInputs
from fraud_mlops.serving.network import FastNetwork, Passed, mean_logits, rows_of
from fraud_mlops.serving.request import ClaimReader, moment_of
from fraud_mlops.serving.words import Words, joined, missing
from fraud_mlops.serving.words import value as word_of

Explain = Literal["all", "alerts", "none"]
TOP = 3
FEW_ROWS = 32
"""Up to so many claims pass the network in numpy; with more, torch's products are faster."""
LOOK_UP_ROWS = 1024
"""What is made on the way of so many stays in the processor's cache."""
ELEVATED = 0.5
"""From this share of the threshold's probability on a claim that is not alerted is `elevated`."""


@dataclass(frozen=True)
class Inputs:
    """n claims, all that is known of them. moments: event times in microseconds since 1970 [n];
    values [n, numeric features] and words of each category of raw features; entities: of each kind
    [n]; matrix: as the network takes them."""

    moments: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    words: list[Words]
    entities: dict[str, list[str | None]]
    matrix: Matrix

    def digests(self) -> list[str]:
        """Of each claim's raw features, the same for the same ones. No way back to the values."""
        rows, width = len(self.values), self.values.itemsize * self.values.shape[1]
        data = self.values.tobytes()
        return [
            hashlib.sha256(data[i * width : (i + 1) * width] + told).hexdigest()[:32]
            for i, told in enumerate(joined(self.words, rows))
        ]


@dataclass(frozen=True)
class Scores:
    """logits float32 [n], by which claims are ranked; probabilities: calibrated; alerts.

    passed: what the network made of the claims, where they are few, for reasons to go on from."""

    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float64]
    alerts: npt.NDArray[np.bool_]
    passed: list[Passed] | None = None


class Scorer:
    """One version, with what its contract's entities have done, and claims to try it with."""

    def __init__(
        self, manifest: Manifest, contract: Contract, model: FraudModel,
        histories: EntityHistories, examples: tuple[Example, ...] = (),
        common: Tried | None = None,
    ) -> None:  # fmt: skip
        self.manifest, self.contract, self.model = manifest, contract, model
        self.histories, self.examples, self.common = histories, examples, common or {}
        self.version = manifest.version
        self.reader = ClaimReader(contract, model)
        self.numeric = tuple(model.typical.numeric)
        self.inputs = FastInputs(model.preprocessor, self.numeric)
        self.categorical = self.inputs.categorical
        self._word = {name: i for i, name in enumerate(self.categorical)}
        place = {name: i for i, name in enumerate(self.numeric)}
        own = [name for name in self.reader.numeric if name in place]
        self._own = [(name, place[name]) for name in own]
        self._own_at = np.array([place[name] for name in own], dtype=np.int64)
        derived = [(i, place[n]) for i, n in enumerate(histories.names) if n in place]
        self._derived_from = np.array([i for i, _ in derived], dtype=np.int64)
        self._derived_to = np.array([i for _, i in derived], dtype=np.int64)
        self._derived = {histories.names[i]: to for i, to in derived}
        self._network, self._features = FastNetwork(model), model.features
        self._unsaid = unsaid_columns(contract)
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
        given = [[_nan(reader.number(claim, name)) for name, _ in self._own] for claim in claims]
        values[:, self._own_at] = np.array(given, dtype=np.float64).reshape(n, len(self._own))
        entities = {e: [reader.word(c, e) for c in claims] for e in reader.entities}
        self._look_up(values, moments, entities)
        for i, claim in enumerate(claims):
            for name, value in reader.brought(claim).items():
                if name in self._derived and value is not None:
                    values[i, self._derived[name]] = value
        words: list[Words] = [
            [reader.word(claim, name) for claim in claims] for name in self.categorical
        ]
        return Inputs(moments, values, words, entities, self.inputs.matrix(values, words))

    def prepared(
        self,
        moments: npt.NDArray[np.int64],
        own: dict[str, npt.NDArray[np.float64]],
        entities: dict[str, list[str | None]],
        categories: dict[str, Words],
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
        """Of up to FEW_ROWS claims the same to the bit as of each by itself."""
        few = 0 < len(inputs.moments) <= FEW_ROWS
        passed = self._network.passed(inputs.matrix) if few else None
        logits = self.model.matrix_logits(inputs.matrix) if passed is None else mean_logits(passed)
        return Scores(logits, self.model.calibrated(logits), logits >= self._limit, passed)

    def band(self, alert: bool, probability: float) -> str:
        """high: alerted; elevated: no alert, but half way there or more; else low."""
        if alert:
            return "high"
        limit = self.threshold_probability
        return "elevated" if limit is not None and probability >= ELEVATED * limit else "low"

    def reasons(
        self, inputs: Inputs, scores: Scores, rows: Sequence[int]
    ) -> list[list[dict[str, Any]]]:
        """For each row what raises its logit most, strongest first, as `reasons` has it in words.

        contribution: in logits. All contributions of a claim, those not shown too, add up to its
        logit less that of the average training claim (DeepLIFT; see
        `models.reasons.attributions`).
        """
        if not len(rows):
            return []
        at, passed = np.asarray(rows, dtype=np.int64), scores.passed
        if passed is None or len(at) < len(scores.logits):
            shares = self._shares(rows_of(inputs.matrix, at))
        else:
            shares = self._network.attributions(passed)
        order = np.argsort(-shares, axis=1, kind="stable")[:, :TOP]
        told = []
        for i, row in enumerate(at.tolist()):
            features = [j for j in order[i].tolist() if shares[i, j] > 0]
            told.append([self._reason(inputs, row, j, float(shares[i, j])) for j in features])
        return told

    def _shares(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        network = self._network
        starts = range(0, len(matrix.numeric), FEW_ROWS)
        some = (rows_of(matrix, slice(start, start + FEW_ROWS)) for start in starts)
        return np.concatenate([network.attributions(network.passed(rows)) for rows in some])

    def warnings(self, inputs: Inputs) -> dict[int, list[dict[str, str]]]:
        """By row, of those that have any: what was scored as in training although it is not as it
        should be."""
        told: dict[int, list[dict[str, str]]] = {}

        def note(rows: Any, code: str, field: str, detail: str) -> None:
            for row in np.flatnonzero(rows).tolist():
                told.setdefault(row, []).append({"code": code, "field": field, "detail": detail})

        unknown = inputs.matrix.categories == 0
        seen = unknown.any(axis=0).tolist()
        for place, name in enumerate(self.categorical):
            if seen[place]:
                rows, absent = unknown[:, place], missing(inputs.words[place])
                note(rows if absent is None else rows & ~absent, "unknown_category", name, _UNKNOWN)
        blank = np.isnan(inputs.values[:, self._own_at])
        if blank.any():
            for place, (name, _) in enumerate(self._own):
                note(blank[:, place], "missing_value", name, _MISSING)
        for name, column in self._texts(inputs):
            if (absent := missing(column)) is not None:
                note(absent, "missing_value", name, _MISSING)
        for rows, code, field, detail in self._about_histories(inputs.moments):
            note(rows, code, field, detail)
        return told

    def _texts(self, inputs: Inputs) -> Iterator[tuple[str, Words]]:
        yield from zip(self.categorical, inputs.words, strict=True)
        yield from inputs.entities.items()

    def explain(self, inputs: Inputs, scores: Scores, which: Explain) -> dict[int, list[Any]]:
        """Reasons by row of the claims that are to have some."""
        if which == "none":
            return {}
        rows = range(len(scores.logits)) if which == "all" else np.flatnonzero(scores.alerts)
        wanted = [int(i) for i in rows]
        return dict(zip(wanted, self.reasons(inputs, scores, wanted), strict=True))

    def _look_up(
        self,
        values: npt.NDArray[np.float64],
        moments: npt.NDArray[np.int64],
        entities: dict[str, list[str | None]],
    ) -> None:
        if not len(self._derived_to):
            return
        for start in range(0, len(moments), LOOK_UP_ROWS):
            rows = slice(start, start + LOOK_UP_ROWS)
            some = {entity: column[rows] for entity, column in entities.items()}
            found = self.histories.features(moments[rows], some)
            values[rows, self._derived_to] = found[:, self._derived_from]

    def _reason(self, inputs: Inputs, row: int, feature: int, share: float) -> dict[str, Any]:
        numeric = len(self.numeric)
        name = self._features[feature]
        value: float | str | None
        typical: float | str | None
        if feature < numeric:
            number = float(inputs.values[row, feature])
            value, typical = _none(number), self.model.typical.numeric.get(name)
        else:
            value = word_of(inputs.words[self._word[name]], row)
            typical = self.model.typical.categorical.get(name)
        text = sentence(self.model, name, value, unsaid=name in self._unsaid)
        return {
            "feature": name, "value": value, "typical": typical, "contribution": share, "text": text
        }  # fmt: skip

    def _about_histories(
        self, moments: npt.NDArray[np.int64]
    ) -> Iterator[tuple[npt.NDArray[np.bool_], str, str, str]]:
        """Rows, and what is to be told of them."""
        if not self.reader.entities:
            return
        facts = self.histories.facts
        if facts is None:
            yield np.ones(len(moments), dtype=bool), "no_entity_state", FEATURES, _NO_STATE
            return
        days = max(lookbacks(self.reader.contract))
        whole = facts.whole_from(days)
        early = moments < microseconds(whole)
        if early.any():
            detail = f"Histories of {days} days are whole for claims from {whole:%F} on."
            yield early, "before_entity_state", EVENT_TIME, detail
        known = facts.knows_until
        late = moments > microseconds(known) + _STALE
        if late.any():
            detail = (
                f"Histories know of claims until {known:%F %H:%M} UTC; a scoring run renews them."
            )
            yield late & ~early, "stale_entity_state", EVENT_TIME, detail


_UNKNOWN = "Training has hardly seen this value; it was scored as an unknown one."
_MISSING = "Scored as missing, as in training."
_NO_STATE = "No entity state is published; every entity counts as new. Run the scoring flow."
_STALE = 2 * 86_400_000_000


def _nan(value: float | None) -> float:
    return np.nan if value is None else value


def _none(value: float) -> float | None:
    return value if np.isfinite(value) else None
