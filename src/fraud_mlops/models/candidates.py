"""Candidates: the networks that compete for a dataset, by default, by draw or by hand."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field, model_validator

from fraud_mlops.catalog import position, read_yaml
from fraud_mlops.errors import ContractError
from fraud_mlops.models.params import LogisticParams, MlpParams, Params, TabmParams

if TYPE_CHECKING:
    from optuna.trial import Trial

Family = Literal["logistic", "mlp", "tabm"]

MAX_CANDIDATES = 1000
"""Of one run; `flows/flow_environment.py` lets Metaflow split a run into as many tasks."""

SEEDS = 2**31
"""Seeds are smaller than this, and not negative: every library that is given them takes them."""

DEFAULTS: tuple[Params, ...] = (
    TabmParams(),
    MlpParams(),
    LogisticParams(),
    TabmParams(
        blocks=2,
        width=64,
        learning_rate=0.008,
        epochs=16,
        batch_size=128,
        dropout=0.15,
        weight_decay=0.02,
        distillation=0.5,
    ),
)
"""Strong without tuning; the last for claims with rare, sharp patterns."""

_DRAWN: tuple[Family, ...] = ("tabm", "tabm", "mlp", "tabm", "logistic")
"""Families in order of the draws: most go to the family that usually wins."""


class Candidate(BaseModel):
    """One network to train: a unique name, its family's parameters, a seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    params: Params
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] = 0

    @model_validator(mode="before")
    @classmethod
    def _family_beside_params(cls, data: Any) -> Any:
        """`family: tabm` may stand beside `params`, where people look for it."""
        if isinstance(data, dict) and "family" in data:
            data = dict(data)
            family = data.pop("family")
            params = data.get("params")
            if isinstance(params, dict) or params is None:
                data["params"] = {"family": family} | (params or {})
        return data

    # mypy knows no decorator above a property; pydantic documents this order.
    @computed_field  # type: ignore[prop-decorator]
    @property
    def family(self) -> Family:
        return self.params.family


def draw_candidates(n: int, seed: int) -> list[Candidate]:
    """The first `n` of: the defaults, then draws without end. n >= 1.

    The same seed gives the same list, and a longer list begins with the shorter one. Draws are
    independent (random search), because candidates train at the same time and none can learn
    from another's result.
    """
    import optuna

    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    finally:
        optuna.logging.set_verbosity(verbosity)
    drawn = [_draw(study.ask(), _DRAWN[i % len(_DRAWN)]) for i in range(max(0, n - len(DEFAULTS)))]
    return _named([*DEFAULTS, *drawn][:n], seed)


def load_candidates(path: str | os.PathLike[str]) -> list[Candidate]:
    """Candidates of a YAML list such as `- {name: wide, family: tabm, params: {width: 512}}`.

    path: or an address in a store.
    Raises ContractError with the file, and line, column and field of every mistake at once.
    """
    path = os.fspath(path)
    tree, data = read_yaml(path if "://" in path else Path(path))
    if not isinstance(data, list) or not data or not isinstance(tree, yaml.SequenceNode):
        raise ContractError(f"{path}: expected a list of candidates, each with name and family")
    candidates: list[Candidate] = []
    mistakes: list[str] = []
    for node, item in zip(tree.value, data, strict=True):
        try:
            candidates.append(Candidate.model_validate(item))
        except ValidationError as error:
            mistakes += _mistakes(node, error)
            continue
        if candidates[-1].name in {c.name for c in candidates[:-1]}:
            line, column = position(node, ("name",))
            mistakes.append(f"  line {line}, column {column}: name: {candidates[-1].name!r} twice")
    if mistakes:
        title = f"{path}: {len(mistakes)} mistake(s) in the list of candidates"
        raise ContractError("\n".join([title, *mistakes]))
    return candidates


def _mistakes(node: yaml.Node, error: ValidationError) -> list[str]:
    lines = []
    for mistake in error.errors(include_url=False, include_context=False):
        line, column = position(node, mistake["loc"])
        # pydantic puts the chosen family into the path of a field; the file has none there.
        field = ".".join(
            str(part)
            for i, part in enumerate(mistake["loc"])
            if not (i == 1 and part in ("logistic", "mlp", "tabm"))
        )
        lines.append(f"  line {line}, column {column}: {field or 'candidate'}: {mistake['msg']}")
    return lines


def _named(params: list[Params], seed: int) -> list[Candidate]:
    seen: Counter[str] = Counter()
    candidates = []
    for i, chosen in enumerate(params):
        seen[chosen.family] += 1
        name = f"{chosen.family}-{seen[chosen.family]}"
        candidates.append(Candidate(name=name, params=chosen, seed=(seed + i) % SEEDS))
    return candidates


def _draw(trial: Trial, family: Family) -> Params:
    if family == "logistic":
        return LogisticParams(
            learning_rate=trial.suggest_float("learning_rate", 3e-3, 0.1, log=True),
            weight_decay=trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
            label_smoothing=_smoothing(trial),
        )
    shared: dict[str, Any] = {
        "epochs": trial.suggest_int("epochs", 10, 40, step=5),
        "learning_rate": trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 0.3, log=True),
        "label_smoothing": _smoothing(trial),
        "bins": trial.suggest_int("bins", 8, 48, step=8),
        "numeric_width": trial.suggest_categorical("numeric_width", [4, 8, 16]),
        "one_hot_up_to": trial.suggest_categorical("one_hot_up_to", [0, 16, 64]),
        "category_width": trial.suggest_categorical("category_width", [4, 8, 16]),
        "blocks": trial.suggest_int("blocks", 1, 4),
        "width": trial.suggest_categorical("width", [64, 96, 128, 192]),
        "base_rate_period": trial.suggest_categorical("base_rate_period", [None, 30.0]),
        "distillation": trial.suggest_categorical("distillation", [0.0, 0.5]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5, step=0.05),
    }
    if family == "mlp":
        return MlpParams(**shared)
    return TabmParams(**shared, k=trial.suggest_categorical("k", [4, 8, 16]))


def _smoothing(trial: Trial) -> float:
    return trial.suggest_float("label_smoothing", 0.0, 0.1, step=0.01)
