"""Whose values are not shown: persons, entities, and features that are the same column."""

from __future__ import annotations

from fraud_mlops.claims.schema import masked_columns, unsaid_columns
from fraud_mlops.contract import Contract

CONTRACT = Contract.model_validate(
    {
        "name": "motor",
        "source": {"uri": "claims.csv"},
        "claim_id": "number",
        "event_time": {"column": "day"},
        "label": {"column": "fraud", "delay": "30d"},
        "amount": "paid",
        "entities": {"rep": "RepNumber", "holder": "insured"},
        "numeric": ["Age", "km"],
        "categorical": ["RepNumber", "Sex"],
        "personal": ["Age", "paid"],
    }
)


def test_an_entitys_column_that_is_a_feature_too_is_masked_under_both_names() -> None:
    assert unsaid_columns(CONTRACT) == {"rep", "holder", "RepNumber", "Age", "amount"}
    assert masked_columns(CONTRACT) == {"claim_id", *unsaid_columns(CONTRACT)}
