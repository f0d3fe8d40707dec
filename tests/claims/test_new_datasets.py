"""A third party's data, added by a YAML alone: no line of code knows any of these."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from claims_kit import (
    AS_OF,
    claims,
    lakehouse,
    published,
    quarantined,
    take_in,
    write_csv,
    write_parquet,
)

from fraud_mlops import catalog
from fraud_mlops.claims import IngestReport
from fraud_mlops.contract import Contract
from fraud_mlops.sources import FileSource

VEHICLES = Path(__file__).parents[3] / "shared" / "data" / "vehicle_claims.csv"
OWN_YAML = Path(__file__).parents[2] / "datasets" / "vehicle_claims.yaml"


# Card transactions: two entities, seconds, a week's delay, a folder of Parquet ---------------

CARDS = """\
name: card_payments
description: Two entities, timestamps to the second, labels a week later.
source: {uri: payments/}
claim_id: tx_id
event_time: {column: tx_datetime}
label: {column: tx_fraud, delay: 7d}
amount: tx_amount
entities: {customer: customer_id, terminal: terminal_id}
ignore: [tx_fraud_scenario]
partition: week
"""


@pytest.fixture(scope="module")
def cards(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[pd.DataFrame, IngestReport, pd.DataFrame]:
    """The payments as they were made, the report, and what was published."""
    folder = tmp_path_factory.mktemp("cards")
    rng, rows = np.random.default_rng(11), 20_000
    seconds = np.sort(rng.integers(0, 120 * 86400, rows))
    frame = pd.DataFrame(
        {
            "tx_id": np.arange(rows) + 10**9,
            "tx_datetime": pd.Timestamp("2025-08-01") + pd.to_timedelta(seconds, "s"),
            "customer_id": rng.integers(0, 900, rows),
            "terminal_id": pd.Series(rng.integers(0, 400, rows)).map("t{:04d}".format),
            "tx_amount": rng.lognormal(3, 1, rows).round(2),
            "hour": (seconds // 3600 % 24).astype("int8"),
            "channel": pd.Series(rng.choice(["chip", "web", "swipe"], rows)).astype("category"),
            "tx_fraud": (rng.random(rows) < 0.01).astype(int),
            "tx_fraud_scenario": rng.integers(0, 4, rows),
        }
    )
    for day, part in frame.groupby(frame["tx_datetime"].dt.strftime("%Y-%m")):
        write_parquet(folder / "payments" / f"{day}.parquet", pa.Table.from_pandas(part))
    (folder / "card_payments.yaml").write_text(CARDS, encoding="utf-8")
    made = catalog.load(folder / "card_payments.yaml")
    lake = lakehouse(folder)
    report = take_in(made, lake, as_of=datetime(2025, 11, 29, tzinfo=UTC))
    return frame, report, published(lake, report)


def test_payments_are_published_as_they_were_made(
    cards: tuple[pd.DataFrame, IngestReport, pd.DataFrame],
) -> None:
    frame, report, raw = cards
    assert (report.read, report.kept, report.quarantined) == (20_000, 20_000, 0)
    raw = raw.set_index("claim_id").loc[frame["tx_id"].astype(str).tolist()]
    assert raw["event_time"].dt.tz_localize(None).tolist() == frame["tx_datetime"].tolist()
    assert raw["amount"].tolist() == frame["tx_amount"].tolist()
    assert raw["customer"].tolist() == frame["customer_id"].astype(str).tolist()
    assert raw["terminal"].tolist() == frame["terminal_id"].tolist()
    assert {p.key for p in report.partitions} == {"week"}
    assert len(report.partitions) == 18


def test_features_of_payments_are_inferred_and_leak_nothing(
    cards: tuple[pd.DataFrame, IngestReport, pd.DataFrame],
) -> None:
    _, report, raw = cards
    assert (report.contract.numeric, report.contract.categorical) == (("hour",), ("channel",))
    assert "tx_fraud_scenario" not in raw.columns


def test_labels_of_the_last_week_of_payments_are_not_known_yet(
    cards: tuple[pd.DataFrame, IngestReport, pd.DataFrame],
) -> None:
    frame, report, raw = cards
    week = frame["tx_datetime"] > pd.Timestamp("2025-11-22")
    assert report.immature_labels == week.sum() == raw["label"].isna().sum() > 1000
    assert report.fraud_rate == pytest.approx(frame.loc[~week, "tx_fraud"].mean())


# A survey: 1,000 rows, 40 columns, no entity, no id, no amount -------------------------------

SURVEY = """\
name: survey
source: {uri: data/survey.csv, csv: {separator: "|", decimal: ","}}
event_time: {column: day, format: "%d.%m.%Y"}
label: {column: outcome, fraud: [bad], genuine: [good], delay: 0}
split: {train: 0.5, validation: 0.2, oot: 0.3}
"""


def test_a_table_of_40_columns_without_any_entity(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(5), 1000
    columns = {f"x{i:02d}": rng.normal(size=rows).round(3) for i in range(24)}
    words = {f"k{i:02d}": rng.choice(["low", "mid", "high", ""], rows) for i in range(14)}
    days = pd.Timestamp("2023-01-01") + pd.to_timedelta(np.arange(rows) % 365, "D")
    frame = pd.DataFrame(
        columns
        | words
        | {"day": days.strftime("%d.%m.%Y"), "outcome": rng.choice(["good", "bad"], rows)}
    )
    assert frame.shape == (1000, 40)
    (tmp_path / "data").mkdir()
    frame.to_csv(tmp_path / "data" / "survey.csv", sep="|", decimal=",", index=False)
    (tmp_path / "survey.yaml").write_text(SURVEY, encoding="utf-8")
    lake = lakehouse(tmp_path)
    report = take_in(catalog.load(tmp_path / "survey.yaml"), lake)
    assert (report.kept, report.quarantined, report.warnings) == (1000, 0, ())
    assert report.contract.numeric == tuple(columns)
    assert report.contract.categorical == tuple(words)
    assert len(report.partitions) == 12
    raw = published(lake, report)
    raw = raw.iloc[raw["claim_id"].str.removeprefix("survey.csv-").astype(int).argsort()]
    assert (raw[list(columns)].to_numpy() == frame[list(columns)].to_numpy()).all()
    assert (raw["label"] == (frame["outcome"] == "bad").to_numpy()).all()


# Vehicle claims: the contract of the project, on its file and on one of the same shape --------

VALUES: dict[str, list[str]] = {
    "Make": ["Honda", "Toyota", "Ford", "Mazda", "VW"],
    "AccidentArea": ["Urban", "Rural"],
    "DayOfWeekClaimed": ["Monday", "Tuesday", "Friday", "0"],
    "MonthClaimed": ["Jan", "Nov", "0"],
    "WeekOfMonthClaimed": ["1", "2", "5"],
    "Sex": ["Female", "Male"],
    "MaritalStatus": ["Single", "Married"],
    "Age": ["0", "21", "34", "65"],
    "Fault": ["Policy Holder", "Third Party"],
    "PolicyType": ["Sport - Liability", "Sedan - All Perils"],
    "VehicleCategory": ["Sport", "Utility"],
    "VehiclePrice": ["more than 69000", "20000 to 29000"],
    "RepNumber": [str(i) for i in range(1, 17)],
    "Deductible": ["300", "400"],
    "DriverRating": ["1", "2", "3", "4"],
    "Days_Policy_Accident": ["more than 30", "none"],
    "Days_Policy_Claim": ["more than 30", "8 to 15"],
    "PastNumberOfClaims": ["none", "2 to 4"],
    "AgeOfVehicle": ["3 years", "more than 7"],
    "AgeOfPolicyHolder": ["26 to 30", "31 to 35"],
    "PoliceReportFiled": ["No", "Yes"],
    "WitnessPresent": ["No", "Yes"],
    "AgentType": ["External", "Internal"],
    "NumberOfSuppliments": ["none", "1 to 2"],
    "AddressChange_Claim": ["1 year", "no change"],
    "NumberOfCars": ["3 to 4", "1 vehicle"],
    "BasePolicy": ["Liability", "Collision"],
}


def twin(path: Path, rows: int) -> pd.DataFrame:
    """As messy as the original: semicolons, a byte-order mark, a date in four pieces."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({name: rng.choice(words, rows) for name, words in VALUES.items()})
    month = np.arange(rows) * 36 // rows
    names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    frame["Month"] = [names[m % 12] for m in month]
    frame["WeekOfMonth"] = rng.integers(1, 6, rows)
    frame["DayOfWeek"] = rng.choice(days, rows)
    frame["Year"] = 1994 + month // 12
    frame["PolicyNumber"] = np.arange(1, rows + 1)
    frame["FraudFound_P"] = (rng.random(rows) < 0.06).astype(int)
    frame.to_csv(path, sep=";", index=False, encoding="utf-8-sig")
    return frame


def own_contract(path: Path) -> Contract:
    made = catalog.load(OWN_YAML)
    assert isinstance(made.source, FileSource)
    return made.model_copy(update={"source": made.source.model_copy(update={"uri": str(path)})})


def check_vehicles(report: IngestReport, raw: pd.DataFrame) -> None:
    assert report.quarantined == 0
    assert report.reasons == {}
    assert report.warnings == ()
    assert [p.value for p in report.partitions] == [
        f"{year}-{month:02d}" for year in (1994, 1995, 1996) for month in range(1, 13)
    ]
    assert raw["event_time"].dt.day_name().tolist() == raw["DayOfWeek"].tolist()
    week = (raw["event_time"].dt.day - 1) // 7 + 1
    assert (week - raw["WeekOfMonth"].astype(int)).abs().max() <= 1
    assert (raw["label_time"] == raw["event_time"]).all()
    assert raw["adjuster"].tolist() == raw["RepNumber"].tolist()
    assert not {"Year", "Month"} & {*raw.columns}
    assert "PolicyNumber" not in raw.columns


def test_vehicle_claims_twin(tmp_path: Path) -> None:
    frame = twin(tmp_path / "twin.csv", 3600)
    lake = lakehouse(tmp_path)
    report = take_in(own_contract(tmp_path / "twin.csv"), lake)
    raw = published(lake, report)
    check_vehicles(report, raw)
    assert report.kept == 3600
    assert report.fraud_rate == pytest.approx(frame["FraudFound_P"].mean())
    raw = raw.set_index(raw["claim_id"].astype(int)).sort_index()
    assert (raw["DayOfWeekClaimed"].to_numpy() == frame["DayOfWeekClaimed"].to_numpy()).all()
    assert (raw["Age"].to_numpy() == frame["Age"].astype(float).to_numpy()).all()


def test_vehicle_claims_with_missing_parts_and_zeros_for_unknown(tmp_path: Path) -> None:
    frame = twin(tmp_path / "twin.csv", 3600).astype(str)
    frame.loc[17, "Month"] = "0"
    frame.loc[40, "DayOfWeek"] = "Someday"
    frame.to_csv(tmp_path / "twin.csv", sep=";", index=False, encoding="utf-8-sig")
    made = own_contract(tmp_path / "twin.csv").model_copy(
        update={"missing": {"DayOfWeekClaimed": ("0",), "Age": ("0",)}}
    )
    lake = lakehouse(tmp_path)
    report = take_in(made, lake)
    assert quarantined(report)[["row", "column", "value"]].values.tolist() == [
        [18, "Month", "0"],
        [41, "DayOfWeek", "Someday"],
    ]
    raw = published(lake, report)
    rest = frame.drop(index=[17, 40])
    assert raw["Age"].isna().sum() == (rest["Age"] == "0").sum() > 0
    assert raw["DayOfWeekClaimed"].isna().sum() == (rest["DayOfWeekClaimed"] == "0").sum() > 0


@pytest.mark.real_data
@pytest.mark.skipif(not VEHICLES.exists(), reason="shared/data is not here")
def test_vehicle_claims_themselves(tmp_path: Path) -> None:
    made = catalog.load("vehicle_claims")
    assert isinstance(made.source, FileSource)
    assert Path(made.source.uri) == VEHICLES
    lake = lakehouse(tmp_path)
    report = take_in(made, lake)
    raw = published(lake, report)
    check_vehicles(report, raw)
    assert (report.read, report.kept) == (15_420, 15_420)
    assert raw["label"].sum() == 923
    assert raw["claim_id"].is_unique


@pytest.mark.real_data
@pytest.mark.skipif(not VEHICLES.exists(), reason="shared/data is not here")
def test_vehicle_claims_need_no_list_of_columns(tmp_path: Path) -> None:
    """What the contract lists by hand is what would be inferred, but for the codes."""
    listed = catalog.load("vehicle_claims")
    update = {"numeric": None, "categorical": None, "name": "vehicles"}
    report = take_in(listed.model_copy(update=update), lakehouse(tmp_path), as_of=AS_OF)
    found = set(report.contract.numeric or ()) | set(report.contract.categorical or ())
    named = set(listed.numeric or ()) | set(listed.categorical or ())
    assert named - found == {"RepNumber"}  # an entity needs to be listed to be a category too
    # Left out by hand on purpose, see the YAML: a month of the year is no trait of a claim.
    assert found - named == {"Month", "MonthClaimed"}


def test_a_yaml_works_from_wherever_the_run_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "third party"
    write_csv(folder / "data" / "motor.csv", claims(20))
    text = (
        "name: motor\nsource: {uri: data/*.csv}\nclaim_id: id\n"
        "event_time: {column: at}\nlabel: {column: fraud, delay: 7d}\namount: paid\n"
    )
    (folder / "motor.yaml").write_text(text, encoding="utf-8")
    load: Callable[[str], Contract] = catalog.load
    for start in (tmp_path, folder, folder / "data"):
        monkeypatch.chdir(start)
        path = os.path.relpath(folder / "motor.yaml", start)
        assert take_in(load(path), lakehouse(tmp_path)).kept == 20
