"""A contract by the address of its file, as tasks get it that do not see the launcher's disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraud_mlops import catalog
from fraud_mlops.errors import ContractError
from fraud_mlops.lakehouse.stores import write_bytes
from fraud_mlops.models.candidates import load_candidates

CONTRACT = """\
name: mine
source: {uri: SOURCE}
claim_id: claim_no
event_time: {column: reported_at}
label: {column: fraud_found, fraud: ["Y"], genuine: ["N"], delay: 30d}
"""


def put(name: str, text: str) -> str:
    uri = f"memory://contracts/{name}"
    write_bytes(uri, text.encode())
    return uri


def test_it_is_the_contract_of_that_file(tmp_path: Path) -> None:
    text = CONTRACT.replace("SOURCE", "s3://claims/*.csv")
    here = tmp_path / "mine.yaml"
    here.write_text(text)
    assert catalog.load(put("mine.yaml", text)) == catalog.load(here)


def test_a_source_beside_the_contract_cannot_be_seen_from_elsewhere() -> None:
    uri = put("relative.yaml", CONTRACT.replace("SOURCE", "../landing/*.csv"))
    with pytest.raises(ContractError, match=r"relative\.yaml: source\.uri is meant from"):
        catalog.load(uri)


def test_a_mistake_is_told_by_line() -> None:
    uri = put("wrong.yaml", CONTRACT.replace("SOURCE", "s3://claims/*.csv") + "surprise: 1\n")
    with pytest.raises(ContractError, match=r"memory://contracts/wrong\.yaml(.|\n)*line 6"):
        catalog.load(uri)


def test_one_that_is_not_there_is_told() -> None:
    with pytest.raises(ContractError, match=r"memory://contracts/none\.yaml: cannot be read"):
        catalog.load("memory://contracts/none.yaml")


def test_candidates_too() -> None:
    uri = put("candidates.yaml", "- {name: line, family: logistic, seed: 2}\n")
    assert [candidate.name for candidate in load_candidates(uri)] == ["line"]
