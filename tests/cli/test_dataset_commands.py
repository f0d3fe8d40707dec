"""`datasets` and `check`: before anything runs."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from fraud_mlops import catalog
from fraud_mlops.claims import ingest, staging
from fraud_mlops.landing.aside import set_aside
from fraud_mlops.landing.listing import landed_file
from fraud_mlops.settings import settings

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
        "at": f"{date(2023, 1, 1) + timedelta(days=3 * i):%F}",
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
    assert found["claim_id"] == ["id", "claim", "id", "string", "0.0%"]
    assert found["event_time"][:3] == ["at", "event", "time"]
    assert found["amount"] == ["paid", "amount", "double", "0.0%"]
    assert found["age"] == ["age", "numeric", "double", "0.0%"]
    assert found["make"] == ["make", "categorical", "string", "0.0%"]
    assert found["comment"] == ["ignored"]
    assert "Note: column 'policy' is left out" in text
    assert "All 200 rows: 2023-01-01 00:00 to 2024-08-20 00:00 UTC, 20 fraud, 180 genuine" in text
    assert "No row of them breaks the contract" in text


def test_check_tells_windows_with_their_frauds_entities_and_partitions(shell, place) -> None:
    text = shell.says("check", place())
    found = table(text)
    assert found["garage"][-4:] == ["shop", "7", "28.6", "0.0%"]
    assert "20 partitions with claims, 2023-01 to 2024-08" in text
    assert found["train"] == ["2023-01-01", "2023-11-27", "110", "110", "11", "10.00%"]
    assert found["validation"] == ["2023-12-27", "2024-03-26", "30", "30", "3", "10.00%"]
    assert found["out"] == ["of", "time", "2024-04-25", "2024-08-21", "40", "40", "4", "10.00%"]
    assert found["in"] == ["no", "window", "20", "20", "2", "10.00%"]
    assert "Note: 4 frauds known in the out-of-time window: with fewer than 20" in text
    few = "with fewer than 200 drift is not judged"
    assert f"Note: 110 claims in the training window: {few}" in text
    assert f"Note: 40 claims in the out-of-time window: {few}" in text


def test_check_tells_of_an_entity_that_stands_for_nobody(shell, place) -> None:
    """Of many; with few, one may have that many claims."""

    def rows(shops: int) -> list[str]:
        return [row(i, shop="UNKNOWN" if i % 3 == 0 else f"s{i % shops}") for i in range(200)]

    text = shell.says("check", place(rows(100)))
    assert "entity 'garage': one value of column 'shop' has 34% of the claims" in text
    assert "list it: `missing: {shop: [UNKNOWN]}`" in text
    assert "stands for" not in shell.says("check", place(rows(8)))
    known = CONTRACT + "missing: {shop: [UNKNOWN]}\n"
    assert "stands for" not in shell.says("check", place(rows(100), known))


def test_check_says_when_the_budget_allows_no_alert(shell, place) -> None:
    told = "allows less than one alert of 30 labelled validation claims: no claim will be alerted"
    assert told not in shell.says("check", place())
    small = CONTRACT + "alerts: {budget: 0.02}\n"
    assert f"Note: alerts.budget = 2.00% {told}" in shell.says("check", place(contract=small))


def test_check_takes_labels_as_training_would_know_them(shell, place) -> None:
    """Of a column that says when: later than the next window begins is too late."""
    known = CONTRACT.replace("delay: 30d", "delay: 30d, time_column: comment")
    late = [
        row(i, comment="2024-01-15" if i < 20 else f"{date(2024, 9, 1):%F}" if i > 160 else "")
        for i in range(200)
    ]
    found = table(shell.says("check", place(late, known.replace("ignore: [comment]\n", ""))))
    assert found["train"][2:5] == ["110", "90", "9"]
    assert found["out"][4:7] == ["40", "40", "4"]


def test_check_fails_where_a_window_lacks_what_it_needs(shell, place) -> None:
    honest = [row(i, fraud="Y" if i < 100 and i % 10 == 0 else "N") for i in range(200)]
    text = shell.fails("check", place(honest))
    assert "a run would be refused" in text
    assert "validation (2023-12-27 to 2024-03-26): no fraud among its 30 labelled claims" in text
    assert "oot (2024-04-25 to 2024-08-21): no fraud" in text
    short = [row(i, at=f"2024-01-{i % 28 + 1:02}") for i in range(200)]
    text = shell.fails("check", place(short))
    assert "no time is left for the train window" in text


@pytest.mark.parametrize(
    ("fraud", "genuine"),
    [
        (["confirmed"], [""]),
        (["9"], ["1", "17"]),
        (["120.5", "77", "318"], [""]),
        (["2"], ["1", "3"]),
    ],
)
def test_check_tells_of_a_column_that_almost_is_the_label(
    shell, place, fraud: list[str], genuine: list[str]
) -> None:
    def made(i: int) -> str:
        words = fraud if i % 10 == 0 else genuine
        day = f"{date(2023, 1, 1) + timedelta(days=i):%F}"
        return row(i, at=day, comment=words[i // 10 % len(words)], age=str(18 + i % 61))

    path = place([made(i) for i in range(600)], CONTRACT.replace("ignore: [comment]\n", ""))
    notes = [line for line in shell.says("check", path).splitlines() if "alone tells" in line]
    assert len(notes) == 1
    told = "Note: column 'comment' alone tells fraud from genuine (ROC-AUC 1.000 on 600 labelled"
    assert notes[0].startswith(told)
    few = place([made(i) for i in range(180)], CONTRACT.replace("ignore: [comment]\n", ""))
    assert "alone tells" not in shell.says("check", few), "18 frauds are few"


def test_check_advises_nothing_that_a_contract_refuses_of_what_is_the_label(
    shell, place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the amount nor an entity can be ignored. Of many claims an even part is looked at."""
    monkeypatch.setattr(staging, "_LABELS", 300)
    rows = [
        row(i, at=f"{date(2023, 1, 1) + timedelta(days=i):%F}",
            paid="900" if i % 2 == 0 else "5", shop=f"s{i % 2}", fraud="NY"[i % 2])
        for i in range(900)
    ]  # fmt: skip
    listed = CONTRACT.replace("ignore: [comment]", "categorical: [shop]\nnumeric: []")
    notes = [n for n in shell.says("check", place(rows, listed)).splitlines() if "alone" in n]
    mends = [note.rpartition(", ")[2] for note in notes]
    assert mends == ["take it out of `amount`", "take it out of `categorical`"]
    (seen,) = {int(note.partition(" on ")[2].split()[0]) for note in notes}
    assert 200 < seen < 400


def test_check_takes_no_values_that_name_claims_for_the_label(shell, place) -> None:
    """Rare frauds, of which each workshop has one at most."""
    listed = CONTRACT.replace("ignore: [comment]", "categorical: [comment, policy, make]")
    rows = [
        row(
            i,
            at=f"{date(2021, 1, 1) + timedelta(hours=6 * i):%F}",
            fraud="Y" if i % 100 == 0 else "N",
            comment=f"w{i * 37 % 4000 // 20}",
            policy=f"p{i}",
        )
        for i in range(4000)
    ]
    assert "alone tells" not in shell.says("check", place(rows, listed))


def test_check_fails_where_a_column_has_the_name_of_a_history(shell, place, tmp_path: Path) -> None:
    path = place()
    claims = tmp_path / "claims.csv"
    claims.write_text(claims.read_text().replace(",age,", ",garage_claims_7d,"))
    text = shell.fails("check", path)
    assert "derived features garage_claims_7d bear the name of a column" in text


def test_check_finds_claims_that_come_twice(shell, place) -> None:
    rows = [*(row(i) for i in range(200)), row(7, at="2023-05-05"), row(9)]
    rows += [row(200, fraud=""), row(200)]
    text = shell.says("check", place(rows))
    assert "1 of them add the label of an earlier record." in text
    assert "2 of them break the contract, and would go to quarantine" in text
    found = table(text)
    assert found["duplicate_claim_id"] == ["1", "0.49%"]
    assert found["duplicate_with_other_values"] == ["1", "0.49%"]
    shown = [line.split()[1:] for line in text.splitlines() if "claims.csv " in line]
    assert shown == [
        ["201", "at", "2023-05-05", "duplicate_with_other_values"],
        ["202", "id", "***", "duplicate_claim_id"],
    ]


def test_check_of_the_first_rows_says_that_there_are_more_and_tells_no_windows(
    shell, place, tmp_path: Path
) -> None:
    several = CONTRACT.replace("claims.csv", '"claims*.csv"')
    path = place(contract=several)
    more = "\n".join([HEADER, *(row(i, id=f"d{i}") for i in range(50))])
    (tmp_path / "claims2.csv").write_text(more + "\n")
    text = shell.says("check", path, "--rows", "100")
    assert "First 200 rows: 2023-01-01 00:00 to" in text
    assert "out of time" not in text
    text = shell.says("check", path, "--rows", "201")
    assert "All 250 rows" in text
    assert "out of time" in text


def test_check_says_where_the_partitions_of_old_claims_should_begin(shell, place) -> None:
    old = [row(i, at=f"{date(1994, 1, 9) + timedelta(days=3 * i):%F}") for i in range(200)]
    text = shell.says("check", place(old))
    assert "partitions begin at 2020-01, and claims at 1994-01" in text
    assert "`first_partition: 1994-01`" in text
    said = CONTRACT + "first_partition: 1994-01\n"
    assert "first_partition" not in shell.says("check", place(old, said))


def test_check_says_so_of_the_setting_where_that_goes_before_the_contract(
    shell, place, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [row(i, at=f"{date(1994, 1, 9) + timedelta(days=3 * i):%F}") for i in range(200)]
    monkeypatch.setenv("FRAUD_FIRST_PARTITION", "1995-01")
    settings.cache_clear()
    try:
        text = shell.says("check", place(old, CONTRACT + "first_partition: 1994-01\n"))
    finally:
        settings.cache_clear()
    assert "set FRAUD_FIRST_PARTITION=1994-01, which goes before the contract" in text


def test_check_says_that_a_closed_history_ends_with_its_windows(shell, place) -> None:
    dates = """split:
  train: {start: 2023-01-01, end: 2023-08-01}
  validation: {start: 2023-09-01, end: 2024-01-01}
  oot: {start: 2024-02-01, end: 2024-06-01}
"""
    text = shell.says("check", place(contract=CONTRACT + dates))
    assert "partitions end at 2024-05, with the out-of-time window, and claims at 2024-08" in text
    pattern = (CONTRACT + dates).replace("claims.csv", '"claims*.csv"')
    assert "partitions end" not in shell.says("check", place(contract=pattern))


def test_check_writes_nothing(shell, place, tmp_path: Path) -> None:
    path = place()
    before = sorted(tmp_path.rglob("*"))
    shell.says("check", path)
    assert sorted(tmp_path.rglob("*")) == before


def test_check_leaves_out_what_is_set_aside_as_a_run_does(shell, place, tmp_path: Path) -> None:
    path = place(contract=CONTRACT.replace("claims.csv", '"*.csv"'))
    odd = tmp_path / "odd.csv"
    odd.write_text("id,at,fraud\nx1,2023-01-01,N\n")
    told = f"{odd}: its columns differ"
    assert told in shell.fails("check", path)
    file = landed_file(str(odd))
    assert file is not None
    set_aside(shell.lake, catalog.load(path), str(odd), file, told)
    text = shell.says("check", path)
    assert "All 200 rows" in text
    assert f"Note: set aside, not read: {told}" in text
    assert told in shell.fails("check", path, "--output-uri", str(tmp_path / "another"))


def test_check_reads_columns_as_the_raw_zone_has_them(shell, place) -> None:
    """What has come to look like dates stays the category that it is there, as in a run."""
    contract = catalog.load(place([row(i, policy=f"p{i % 20}") for i in range(200)]))
    ingest(contract, shell.lake, launch_id="1", as_of=datetime.now(UTC), sample_size=None)
    path = place([row(i, policy=f"2020-01-{1 + i % 28:02}") for i in range(200)])
    assert table(shell.says("check", path))["policy"][1] == "categorical"


@pytest.mark.parametrize(
    ("now", "refused"),
    [
        ("partition: week\n", "claims are kept by month"),
        ("source: {uri: theirs.csv}\n", "and the contract has another source"),
    ],
)
def test_check_fails_where_the_lakehouse_keeps_the_claims_otherwise(
    shell, place, tmp_path: Path, now: str, refused: str
) -> None:
    """By partitions of another size, or of another source, which an ingest refuses to replace."""
    contract = catalog.load(place())
    ingest(contract, shell.lake, launch_id="1", as_of=datetime.now(UTC), sample_size=None)
    (tmp_path / "theirs.csv").write_bytes((tmp_path / "claims.csv").read_bytes())
    kept = CONTRACT.replace("source: {uri: claims.csv}\n", "") if "source" in now else CONTRACT
    path = place(contract=kept + now)
    assert refused in shell.fails("check", path)
    shell.says("check", path, "--output-uri", str(tmp_path / "another"))


def test_check_shows_bad_rows_where_they_stand_and_lets_few_pass(shell, place) -> None:
    rows = [row(i) for i in range(200)]
    rows[7] = row(7, fraud="perhaps")
    rows[9] = row(9, at="31/31/2024")
    text = shell.says("check", place(rows))
    assert "2 of them break the contract" in text
    assert table(text)["unknown_label"] == ["1", "0.50%"]
    shown = [line.split()[1:] for line in text.splitlines() if "claims.csv " in line]
    assert ["8", "fraud", "perhaps", "unknown_label"] in shown
    assert ["10", "at", "31/31/2024", "bad_event_time"] in shown


def test_check_fails_when_too_many_rows_are_bad(shell, place) -> None:
    rows = [row(i, fraud="perhaps" if i % 2 else "N") for i in range(200)]
    text = shell.fails("check", place(rows))
    assert "50.0% of the rows break the contract" in text
    assert "quality.max_bad_share = 5.0%" in text


@pytest.mark.parametrize(
    ("behind", "paid", "told"),
    [
        (",", "1", "may end with a separator, or hold one in a value: let the header end with one"),
        ("", "-1", "are claims too, set quality.min_amount: null"),
    ],
)
def test_check_says_what_mends_rows_of_one_kind(
    shell, place, behind: str, paid: str, told: str
) -> None:
    assert told in shell.fails("check", place([row(i, paid=paid) + behind for i in range(200)]))


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
    assert table(text)["train"][:3] == ["2022-01-01", "2023-10-01", "11,517"]
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
