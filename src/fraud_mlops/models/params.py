"""What a data scientist may choose about a network and its training, with bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Rate = Annotated[float, Field(ge=0, lt=1)]


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrainingParams(_Params):
    """How any family is trained."""

    epochs: int = Field(20, ge=1, le=1000, description="Passes over the training claims.")
    batch_size: int | None = Field(
        None, ge=8, le=65_536, description="Claims a step; by the number of claims when left out."
    )
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Highest rate of the schedule.")
    schedule: Literal["one_cycle", "cosine", "constant"] = Field(
        "one_cycle", description="Course of the learning rate over the steps."
    )
    warmup: Rate = Field(0.3, description="Share of the steps in which one_cycle rises.")
    weight_decay: float = Field(0.01, ge=0, le=10, description="AdamW's decoupled L2 penalty.")
    clip_norm: float = Field(1.0, gt=0, le=1000, description="Largest norm of a step's gradient.")
    label_smoothing: Rate = Field(0.0, description="Labels move this far towards one half.")
    fraud_weight: float = Field(1.0, gt=0, le=1000, description="Weight of a fraud in the loss.")
    recency_half_life: float | None = Field(
        None, ge=1, description="Days after which a training claim counts half as much."
    )
    base_rate_period: float | None = Field(
        None,
        ge=1,
        description="Days of a period whose own fraud rate is taken out of the training loss.",
    )
    pairwise: float = Field(
        0.0, ge=0, le=1, description="Share of the pairwise ranking loss, fraud above genuine."
    )
    # Left out where there is none: the same training gives the same bytes as before there was any.
    distillation: float = Field(
        0.0,
        ge=0,
        le=0.5,
        exclude_if=lambda share: not share,
        description="Share of the target that is a random forest's probability, not the label.",
    )
    members: int = Field(1, ge=1, le=64, description="Networks trained from different seeds.")


class LogisticParams(TrainingParams):
    """Logistic regression: one weight a numeric input, one a category, L2."""

    family: Literal["logistic"] = "logistic"
    epochs: int = Field(30, ge=1, le=1000, description="Passes over the training claims.")
    learning_rate: float = Field(0.02, gt=0, le=1, description="Highest rate of the schedule.")


class EncodingParams(TrainingParams):
    """How inputs enter a network with hidden layers."""

    numeric: Literal["piecewise_linear", "plain"] = Field(
        "piecewise_linear", description="Numeric inputs embedded piece by piece, or as they are."
    )
    bins: int = Field(24, ge=2, le=256, description="Pieces a numeric input is cut in, quantiles.")
    numeric_width: int = Field(8, ge=1, le=256, description="Numbers an embedded input becomes.")
    one_hot_up_to: int = Field(
        64, ge=0, le=100_000, description="Categories of a feature up to which it is one-hot."
    )
    category_width: int = Field(8, ge=1, le=256, description="Width of an embedded category.")
    unknown_rate: Rate = Field(
        0.01, description="Categories hidden in training, so that 'unknown' is learnt as well."
    )
    blocks: int = Field(3, ge=1, le=16, description="Hidden layers.")
    width: int = Field(192, ge=4, le=4096, description="Units of a hidden layer.")
    dropout: Rate = Field(0.2, description="Hidden units left out of a training step.")


class MlpParams(EncodingParams):
    """A multilayer perceptron."""

    family: Literal["mlp"] = "mlp"
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Highest rate of the schedule.")


class TabmParams(EncodingParams):
    """TabM: k perceptrons that share most weights (Gorishniy, Kotelnikov & Babenko, ICLR 2025)."""

    family: Literal["tabm"] = "tabm"
    k: int = Field(8, ge=1, le=128, description="Perceptrons in one network.")
    architecture: Literal["tabm", "tabm-mini"] = Field(
        "tabm", description="Own scalings in every layer, or in the first alone."
    )


Params = Annotated[LogisticParams | MlpParams | TabmParams, Field(discriminator="family")]
