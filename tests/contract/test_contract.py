"""What a person may write into a contract, and what it then means."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from fraud_mlops.contract import Contract, DateSplit, ShareSplit
from fraud_mlops.sources import FileSource

LEAST: dict[str, Any] = {
    "name": "motor",
    "source": {"uri": "motor.csv"},
    "event_time": {"column": "reported"},
    "label": {"column": "fraud", "delay": "30d"},
}


def contract(**changed: Any) -> Contract:
    return Contract.model_validate(LEAST | changed)


def mistake(**changed: Any) -> str:
    with pytest.raises(ValidationError) as error:
        contract(**changed)
    return str(error.value)


def test_four_fields_make_a_contract_and_the_rest_has_defaults() -> None:
    made = contract()
    assert isinstance(made.source, FileSource)
    assert made.source.csv.separator == ","
    assert (made.partition, made.windows, made.version) == ("month", (1, 7, 30, 90), 1)
    assert made.split == ShareSplit(train=0.6, validation=0.2, oot=0.2)
    assert (made.alerts.budget, made.quality.max_bad_share, made.quality.min_amount) == (
        0.05,
        0.05,
        0.0,
    )
    assert made.numeric is None
    assert not made.resolved
    assert contract(numeric=[], categorical=["make"]).resolved


@pytest.mark.parametrize("field", ["name", "source", "event_time", "label"])
def test_none_of_the_four_can_be_left_out(field: str) -> None:
    with pytest.raises(ValidationError, match="Field required"):
        Contract.model_validate({k: v for k, v in LEAST.items() if k != field})


@pytest.mark.parametrize("name", ["", "Motor", "2motor", "a b", "../motor", "a" * 64, "a-b"])
def test_a_name_is_fit_for_a_folder(name: str) -> None:
    assert "name" in mistake(name=name)


def test_unknown_keys_are_told_wherever_they_stand() -> None:
    assert "lable_column" in mistake(lable_column="x")
    assert "label.dealy" in mistake(label={"column": "fraud", "delay": "1d", "dealy": "2d"})
    assert "seperator" in mistake(source={"uri": "a.csv", "csv": {"seperator": ";"}})


# Times and splits --------------------------------------------------------------------------


def dates(**changed: Any) -> dict[str, Any]:
    windows = {
        "train": {"start": date(2024, 1, 1), "end": date(2024, 7, 1)},
        "validation": {"start": "2024-07-01", "end": "2024-09-01T00:00:00+02:00"},
        "oot": {"start": datetime(2024, 9, 1), "end": "2025-01-01"},  # noqa: DTZ001
    }
    return windows | changed


def test_split_dates_are_utc_and_a_day_starts_at_midnight() -> None:
    split = contract(split=dates()).split
    assert isinstance(split, DateSplit)
    assert split.train.start == datetime(2024, 1, 1, tzinfo=UTC)
    assert split.validation.end == datetime(2024, 8, 31, 22, tzinfo=UTC)
    assert split.oot.start == datetime(2024, 9, 1, tzinfo=UTC)


def test_the_gap_is_the_label_delay_unless_it_is_given() -> None:
    assert contract(split=dates()).gap == timedelta(days=30)
    assert contract(split=dates(gap="5d")).gap == timedelta(days=5)
    assert contract(split=dates(gap=0)).gap == timedelta(0)
    assert contract(split={"gap": "2d"}).gap == timedelta(days=2)
    assert contract().gap == timedelta(days=30)


@pytest.mark.parametrize(
    "wrong",
    [
        {"oot": {"start": "2024-08-01", "end": "2025-01-01"}},
        {"train": {"start": "2024-01-01", "end": "2024-07-02"}},
        {"validation": {"start": "2025-07-01", "end": "2025-09-01"}},
    ],
)
def test_windows_follow_one_another(wrong: dict[str, Any]) -> None:
    assert "follow one another" in mistake(split=dates(**wrong))


def test_a_window_ends_after_it_starts() -> None:
    told = mistake(split=dates(train={"start": "2024-07-01", "end": "2024-01-01"}))
    assert "must come after start 2024-07-01" in told


@pytest.mark.parametrize("moment", [2024, "2024", "2024-01", 20240101, "20240101", 1.5, "soon"])
def test_a_year_is_not_a_date(moment: Any) -> None:
    """pydantic would take 2024 for the 2024th second of 1970."""
    mistake(split=dates(train={"start": moment, "end": "2024-07-01"}))


def test_a_mistake_in_a_split_is_told_once_and_of_its_own_kind() -> None:
    with pytest.raises(ValidationError) as error:
        contract(split=dates(oot={"start": "2024-10-01", "end": "never"}))
    assert error.value.error_count() == 1
    with pytest.raises(ValidationError) as error:
        contract(split={"train": "most", "validation": 0.2, "oot": 0.2})
    assert error.value.error_count() == 1


def test_shares_add_up() -> None:
    assert contract(split={"train": 0.7, "validation": 0.1, "oot": 0.2}).split.train == 0.7
    assert "add up to 1" in mistake(split={"train": 0.7, "validation": 0.2, "oot": 0.2})
    assert "greater than 0" in mistake(split={"train": 1.0, "validation": 0.0, "oot": 0.0})


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"column": "a", "parts": {"year": "y", "month": "m"}},
        {
            "parts": {
                "year": "y",
                "month": "m",
                "day": "d",
                "week_of_month": "w",
                "day_of_week": "x",
            }
        },
        {"parts": {"year": "y", "month": "m", "week_of_month": "w"}},
        {"parts": {"month": "m"}},
        {"column": "a", "format": "dd/mm/yyyy"},
    ],
)
def test_an_event_time_is_told_in_one_way(wrong: dict[str, Any]) -> None:
    assert "event_time" in mistake(event_time=wrong)


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%Y%m%d", "ISO8601", "unix", "unix_ms"])
def test_formats_are_those_of_strptime_or_epochs(form: str) -> None:
    assert contract(event_time={"column": "a", "format": form}).event_time.format == form


# Columns and labels ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"claim_id": "fraud"}, "'fraud' is both claim_id and label"),
        ({"amount": None, "alerts": {"review_cost": 50}}, "review_cost needs `amount`"),
        ({"amount": "reported"}, "'reported' is both amount and event time"),
        ({"numeric": ["x"], "categorical": ["x"]}, "'x' is both numeric and categorical"),
        ({"numeric": ["x", "x"]}, "'x' is both numeric and numeric"),
        ({"entities": {"agent": "x"}, "numeric": ["x"]}, "'x' is both entity and numeric"),
        ({"entities": {"agent": "fraud"}}, "'fraud' is both label and entity"),
        ({"categorical": ["x"], "ignore": ["x"]}, "'x' is both categorical and ignored"),
        ({"label": {"column": "f", "time_column": "f", "delay": 0}}, "both label and label time"),
        ({"entities": {"x": "agent"}, "numeric": ["x"]}, "entity 'x' has the name of a column"),
        ({"entities": {"amount": "agent"}}, "entity 'amount' has the name of a column"),
        ({"numeric": ["label_time"]}, "'label_time' bears a reserved name"),
    ],
)
def test_a_column_has_one_role(changed: dict[str, Any], told: str) -> None:
    assert told in mistake(**changed)


def test_a_category_may_be_an_entity_and_kept_parts_may_be_features() -> None:
    made = contract(
        entities={"adjuster": "rep"},
        categorical=["rep", "month"],
        event_time={"parts": {"year": "year", "month": "month"}, "keep_parts": True},
    )
    assert made.role_columns() == ["fraud", "rep", "month", "year"]
    assert "both event time and categorical" in mistake(
        categorical=["month"], event_time={"parts": {"year": "year", "month": "month"}}
    )


def test_label_values_are_words_and_never_mean_both() -> None:
    label = {"column": "fraud", "delay": "1d"}
    made = contract(label=label | {"fraud": [1, "F"], "genuine": [0, 2.5]})
    assert (made.label.fraud, made.label.genuine) == (("1", "F"), ("0", "2.5"))
    assert "['1'] stand for fraud and for genuine" in mistake(
        label=label | {"fraud": [1], "genuine": ["1"]}
    )
    assert "at least 1 item" in mistake(label=label | {"fraud": []})


def test_one_label_word_needs_no_list() -> None:
    label = {"column": "fraud", "delay": "1d"}
    made = contract(label=label | {"fraud": "Yes", "genuine": 0})
    assert (made.label.fraud, made.label.genuine) == (("Yes",), ("0",))
    assert "put quotes around" in mistake(label=label | {"fraud": True})


def test_an_unquoted_yes_is_not_taken_for_the_word_true() -> None:
    told = mistake(label={"column": "f", "delay": 0, "fraud": [True], "genuine": ["no"]})
    assert "put quotes around" in told
    assert "put quotes around" in mistake(missing={"country": [False]})


@pytest.mark.parametrize(("written", "meant"), [(r"\t", "\t"), ("tab", "\t"), ("|", "|")])
def test_a_tab_can_be_written_in_words(written: str, meant: str) -> None:
    made = contract(source={"uri": "a.csv", "csv": {"separator": written}})
    assert isinstance(made.source, FileSource)
    assert made.source.csv.separator == meant


@pytest.mark.parametrize("sign", ["", ";;", "§", "\n", "\r"])
def test_a_separator_is_one_plain_sign(sign: str) -> None:
    assert "separator" in mistake(source={"uri": "a.csv", "csv": {"separator": sign}})


def test_limits_are_finite_and_within_reason() -> None:
    assert "max_bad_share" in mistake(quality={"max_bad_share": 1.5})
    assert "finite number" in mistake(quality={"min_amount": float("-inf")})
    assert "budget" in mistake(alerts={"budget": 0})
    assert "windows" in mistake(windows=[0])
    assert "source" in mistake(source={"uri": ""})


def test_a_contract_cannot_be_changed_in_hand() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        contract().name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"psi_warn": -3}, "psi_warn"),
        ({"share_alert": 7}, "share_alert"),
        ({"classifier_alert": 20}, "classifier_alert"),
        ({"psi_warn": 0.5, "psi_alert": 0.2}, "psi_warn 0.5 must not be above psi_alert 0.2"),
    ],
)
def test_limits_of_drift_are_such_that_something_can_be_past_them(
    limits: dict[str, float], told: str
) -> None:
    assert told in mistake(drift=limits)


def test_histories_look_back_a_century_at_most() -> None:
    assert "36500" in mistake(windows=[7, 1_000_000_000])


def test_the_scores_of_the_model_have_a_name_of_their_own() -> None:
    assert contract(numeric=["score"]).numeric == ("score",)
    assert "bears a reserved name" in mistake(numeric=["model_score"])


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_a_claim_brings_features_of_its_entities_under_a_name_that_no_column_has(kind: str) -> None:
    assert contract(**{kind: ["features"]}, entities={})
    told = mistake(**{kind: ["features"]}, entities={"agent": "rep"})
    assert "column 'features' bears the name under which" in told
    assert "call it otherwise" in mistake(entities={"features": "rep"})
