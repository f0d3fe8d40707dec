"""`datasets` and `check`: before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

CONTRACT = """\
name: motor
description: Claims of one garage.
source: {uri: claims.csv}
claim_id: id
event_time: {column: at}
label: {column: fraud, fraud: ["Y"], genuine: ["N"], delay: 30d}
amount: paid
entities: {garage: shop}
ignore: [comment]
"""
HEADER = "id,at,fraud,paid,shop,age,make,policy,comment"


def row(i: int, **changed: str) -> str:
    usual = {
        "id": f"c{i}",
        "at": f"2024-01-{i % 28 + 1:02}",
        "fraud": "Y" if i % 10 == 0 else "N",
        "paid": f"{100 + i}.5",
        "shop": f"s{i % 7}",
        "age": str(18 + (i * 7) % 60),
        "make": ["Audi", "Fiat"][i % 2],
        "policy": f"p{i * 37 % 1000}",
        "comment": "",
    }
    return ",".join((usual | changed).values())


@pytest.fixture
def place(tmp_path: Path):
    def make(rows: list[str] | None = None, contract: str = CONTRACT) -> str:
        rows = [row(i) for i in range(200)] if rows is None else rows
        (tmp_path / "claims.csv").write_text("\n".join([HEADER, *rows]) + "\n")
        path = tmp_path / "motor.yaml"
        path.write_text(contract)
        return str(path)

    return make


def table(text: str) -> dict[str, list[str]]:
    rows = (line.split() for line in text.splitlines())
    return {cells[0]: cells[1:] for cells in rows if cells}


def test_check_says_what_is_read_as_what(shell, place) -> None:
    path = place()
    text = shell.says("check", path)
    found = table(text)
    assert text.endswith(f"--dataset {path}\n")
    assert found["claim_id"] == ["id", "claim", "id", "string"]
    assert found["event_time"][:3] == ["at", "event", "time"]
    assert found["amount"] == ["paid", "amount", "double"]
    assert found["garage"] == ["shop", "entity", "string"]
    assert found["age"] == ["age", "numeric", "double"]
    assert found["make"] == ["make", "categorical", "string"]
    assert found["comment"] == ["ignored"]
    assert "Note: column 'policy' is left out" in text
    assert "First 200 rows: 2024-01-01 00:00 to 2024-01-28 00:00 UTC, 20 fraud, 180 genuine" in text
    assert "No row of them breaks the contract" in text


def test_check_writes_nothing(shell, place, tmp_path: Path) -> None:
    path = place()
    before = sorted(tmp_path.rglob("*"))
    shell.says("check", path)
    assert sorted(tmp_path.rglob("*")) == before


def test_check_shows_bad_rows_where_they_stand_and_lets_few_pass(shell, place) -> None:
    rows = [row(i) for i in range(200)]
    rows[7] = row(7, fraud="perhaps")
    rows[9] = row(9, at="31/31/2024")
    text = shell.says("check", place(rows))
    assert "2 of them break the contract" in text
    shown = [line.split()[1:] for line in text.splitlines() if "claims.csv " in line]
    assert ["8", "fraud", "perhaps", "unknown_label"] in shown
    assert ["10", "at", "31/31/2024", "bad_event_time"] in shown


def test_check_fails_when_too_many_rows_are_bad(shell, place) -> None:
    rows = [row(i, fraud="perhaps" if i % 2 else "N") for i in range(200)]
    text = shell.fails("check", place(rows))
    assert "50.0% of the first rows break the contract" in text
    assert "quality.max_bad_share = 5.0%" in text


def test_check_fails_when_not_one_row_is_good(shell, place) -> None:
    text = shell.fails("check", place([row(1, fraud="perhaps")]))
    assert "100.0%" in text


@pytest.mark.parametrize(
    ("wrong", "right", "told"),
    [
        ("amount: paid", "amount: payed", "payed"),
        ("delay: 30d", "delay: soon", "line 6"),
        ("uri: claims.csv", "uri: claim.csv", "did you mean claims.csv?"),
        ("name: motor", "nam: motor", "nam"),
    ],
)
def test_check_says_where_a_contract_or_its_source_is_wrong(
    shell, place, wrong: str, right: str, told: str
) -> None:
    assert told in shell.fails("check", place(contract=CONTRACT.replace(wrong, right)))


def test_check_of_an_unknown_name_tells_the_known_ones(shell) -> None:
    assert "synthetic_claims" in shell.fails("check", "synthetic_claim")


def test_check_of_a_generated_dataset(shell) -> None:
    text = shell.says("check", "synthetic_claims")
    assert "generated, 20,000 claims" in text
    assert table(text)["provider"] == ["provider", "entity", "string"]
    assert "No row of them breaks the contract" in text


def test_datasets_lists_contracts_with_source_and_place(shell, place, tmp_path: Path) -> None:
    place()
    (tmp_path / "datasets").mkdir()
    (tmp_path / "motor.yaml").rename(tmp_path / "datasets" / "motor.yaml")
    (tmp_path / "datasets" / "broken.yaml").write_text("name: [")
    text = shell.says("datasets")
    assert "Claims of one garage." in text
    assert "synthetic_claims" in text
    assert "generated, 20,000 claims" in text
    assert "wrong: " in text, "one broken contract does not hide the others"
    shown = "".join(line.strip() for line in text.splitlines())
    assert "motor.yaml" in shown
