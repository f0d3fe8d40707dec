"""Limits of a dataset contract that only tell: past them a check warns, and nothing stops."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class Checks(BaseModel):
    """Limits of what is told about an asset; none of them stops a run."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    label_maturity: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Least share of claims old enough for a label that have one."""
    calibration_error: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Greatest mean distance of probability and fraud rate, out of time."""
    budget_tolerance: Annotated[float, Field(ge=0)] = 0.25
    """Alerts may exceed the budget by this share of it; a threshold cannot know what comes."""
    performance_frauds: PositiveInt = 30
    """With fewer labelled frauds performance is not said to have decayed."""
