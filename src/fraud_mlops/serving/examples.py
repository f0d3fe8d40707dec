"""A few claims to try a model with: the typical one, and what it takes to score high or low.

They are made up. The typical claim has what is usual in every field; the others have some of its
fields changed, to values that are common in training, and to those that move the score most. So
nobody's claim is among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.contract import FEATURES, Contract
from fraud_mlops.features.windows import entity_feature_names
from fraud_mlops.models.fraud_model import FraudModel

CHANGES = 4
"""At most so many fields, and as many histories, are changed."""
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Of a number, what is tried; DIGITS of it, since all of them might be somebody's."""
DIGITS = 3
COMMON = 10
"""Of a category, how many values are tried: the commonest."""

Value: TypeAlias = float | str | None
Row: TypeAlias = dict[str, Value]
Tried: TypeAlias = Mapping[str, list[Value]]


class Example(NamedTuple):
    """claim: as a client sends it. It names no entity, and may bring histories."""

    name: str
    claim: dict[str, Any]


def common_values(contract: Contract, model: FraudModel, reference: pa.Table | None) -> Tried:
    """Of each feature what is common in training, to see what it would change; nothing of one that
    is an entity too, for no value may name anybody, and nothing without a sample.

    reference: features of claims of the training, as a bundle carries them.
    """
    if reference is None or not reference.num_rows:
        return {}
    people = _people(contract)
    return {k: v for k, v in _values(model, reference).items() if k not in people}


def examples_of(contract: Contract, model: FraudModel, common: Tried) -> tuple[Example, ...]:
    """The typical claim; where `common_values` are known, also one of each end."""
    derived, people = frozenset(entity_feature_names(contract)), _people(contract)
    usual: Row = {**model.typical.numeric, **model.typical.categorical}
    start = {k: None if k in derived | people else v for k, v in usual.items()}
    made = {"typical": start}
    if common:
        own = {k: v for k, v in common.items() if k not in derived}
        high = _moved(model, start, own, up=True)
        high = _moved(model, high, {k: v for k, v in common.items() if k in derived}, up=True)
        made |= {"high-scoring": high, "low-scoring": _moved(model, start, own, up=False)}
    return tuple(Example(name, _claim(row, derived)) for name, row in made.items())


def _people(contract: Contract) -> frozenset[str]:
    """Columns that are entities, and may be features too."""
    return frozenset(contract.entities.values())


def _claim(row: Row, derived: frozenset[str]) -> dict[str, Any]:
    known = {k: v for k, v in row.items() if v is not None}
    brought = {k: v for k, v in known.items() if k in derived}
    own: dict[str, Any] = {k: v for k, v in known.items() if k not in derived}
    return own | ({FEATURES: brought} if brought else {})


def _values(model: FraudModel, reference: pa.Table) -> Tried:
    """Of each feature those that are tried; of words those that the model knows."""
    known_words = {c.name: frozenset(c.values) for c in model.preprocessor.categorical}
    tried: dict[str, list[Value]] = {}
    for name in model.typical.numeric:
        known = pc.drop_null(reference.column(name).cast(pa.float64())).to_numpy()
        known = known[np.isfinite(known)]
        found = np.quantile(known, QUANTILES).tolist() if len(known) else []
        tried[name] = [*dict.fromkeys(map(_rounded, found))]
    for name in model.typical.categorical:
        found = reference.column(name).drop_null().value_counts().to_pylist()
        counts = [each for each in found if each["values"] in known_words.get(name, ())]
        counts.sort(key=lambda each: (-each["counts"], each["values"]))
        tried[name] = [each["values"] for each in counts[:COMMON]]
    return tried


def _moved(model: FraudModel, row: Row, tried: Tried, *, up: bool) -> Row:
    """Changed one field after the other, each time the one that moves the score most; a claim on
    its way up ends where it is alerted."""
    score = float(_logits(model, [row])[0])
    limit = np.inf if model.threshold is None else model.threshold
    for _ in range(CHANGES):
        changed = [row | {name: value} for name, values in tried.items() for value in values]
        if not changed or (up and score >= limit):
            break
        logits = _logits(model, changed)
        best = int(logits.argmax() if up else logits.argmin())
        if not (logits[best] > score if up else logits[best] < score):
            break
        row, score = changed[best], float(logits[best])
    return row


def _logits(model: FraudModel, rows: list[Row]) -> np.ndarray:
    columns = {
        name: pa.array([row[name] for row in rows], kind)
        for names, kind in (
            (model.typical.numeric, pa.float64()),
            (model.typical.categorical, pa.string()),
        )
        for name in names
    }
    return model.logits(pa.table(columns))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
