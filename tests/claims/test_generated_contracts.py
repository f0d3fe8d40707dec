"""A contract over generated claims chooses and names columns as one over files does."""

from __future__ import annotations

from pathlib import Path

import pytest
from claims_kit import lakehouse, published, take_in

from fraud_mlops import catalog
from fraud_mlops.contract import Contract
from fraud_mlops.errors import ContractError

FEW_COLUMNS = """\
name: few_columns
source: {kind: synthetic, claims: 400, seed: 3, start: 2024-01-01, end: 2024-07-01}
claim_id: claim_id
event_time: {column: event_time}
label: {column: label, time_column: label_time, delay: 30d}
amount: amount
entities: {customer: policyholder}
numeric: [driver_age]
categorical: [peril]
"""


def load(folder: Path, text: str) -> Contract:
    path = folder / "few_columns.yaml"
    path.write_text(text, encoding="utf-8")
    return catalog.load(path)


def test_a_contract_takes_some_of_the_generated_columns_and_names_them(tmp_path: Path) -> None:
    lake = lakehouse(tmp_path)
    claims = published(lake, take_in(load(tmp_path, FEW_COLUMNS), lake))
    assert len(claims) == 400
    assert [*claims.columns] == [
        *("claim_id", "event_time", "label", "label_time", "amount"),
        *("customer", "driver_age", "peril"),
    ]
    assert claims["customer"].str.startswith("PLH-").all()


def test_a_column_that_the_generator_does_not_make_is_refused(tmp_path: Path) -> None:
    contract = load(tmp_path, FEW_COLUMNS.replace("driver_age", "shoe_size"))
    with pytest.raises(ContractError, match=r"makes no column 'shoe_size'; name one of .*peril"):
        take_in(contract, lakehouse(tmp_path))
