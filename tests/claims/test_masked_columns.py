"""Whose values are not shown: persons, entities, and features that are the same column."""

from __future__ import annotations

import pytest

from fraud_mlops.claims.schema import masked_columns, require_seasonal, unsaid_columns
from fraud_mlops.contract import Contract
from fraud_mlops.errors import ContractError

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


def test_a_seasonal_column_is_one_of_the_features() -> None:
    def seasonal(*names: str) -> Contract:
        return Contract.model_validate(CONTRACT.model_dump() | {"drift": {"seasonal": names}})

    require_seasonal(seasonal("km", "Sex"))
    with pytest.raises(ContractError, match=r"drift\.seasonal names Sexx, which is no numeric"):
        require_seasonal(seasonal("Sexx", "km"))
