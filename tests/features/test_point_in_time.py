"""Entity features are what their definitions say, and the future cannot change them."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from made_claims import START, Row, build, contract, early_claims, expected, table

from fraud_mlops.contract import Contract
from fraud_mlops.errors import ContractError
from fraud_mlops.features.build import read_window
from fraud_mlops.features.windows import entity_feature_names

MICROSECOND = timedelta(microseconds=1)
# Ties, and distances of exactly a window, a microsecond less and a microsecond more.
MOMENTS = sorted(
    {
        timedelta(days=days) + near * MICROSECOND
        for days in (0, 1, 2, 7, 8, 14, 30, 37, 38)
        for near in (-1, 0, 1)
    }
)
names = st.sampled_from([None, "x", "y", "z"])
amounts = st.none() | st.floats(-1e6, 1e6).map(lambda a: round(a, 3))


@st.composite
def claims(draw: st.DrawFn, prefix: str = "c", at_least: int = 1) -> list[Row]:
    rows: list[Row] = []
    for i in range(draw(st.integers(at_least, 14))):
        event = START + draw(st.sampled_from(MOMENTS))
        label = draw(st.sampled_from([None, 0, 1]))
        late = draw(st.sampled_from([0, 7, 8, 20]))
        rows.append(
            {
                "claim_id": f"{prefix}{i}",
                "event_time": event,
                "label": label,
                "label_time": None if label is None else event + timedelta(days=late),
                "amount": draw(amounts),
                "card": draw(names),
                "shop": draw(names),
            }
        )
    return rows


def features(contract: Contract, rows: list[Row], **options: Any) -> dict[str, Row]:
    """Entity features by claim id, of the out-of-time window that holds all drawn claims."""
    with tempfile.TemporaryDirectory() as folder:
        built = build(Path(folder), contract, table(contract, [*early_claims(), *rows]), **options)
        found = read_window(built, "oot").to_pylist()
    wanted = entity_feature_names(contract)
    return {row["claim_id"]: {name: row[name] for name in wanted} for row in found}


def near(got: float, right: float) -> bool:
    return got == pytest.approx(right, rel=1e-6, abs=1e-6)


@hypothesis_settings(max_examples=25, deadline=None)
@given(claims())
def test_every_feature_is_what_its_definition_says(rows: list[Row]) -> None:
    made = contract()
    found = features(made, rows)
    everything = [*early_claims(), *rows]
    for row in rows:
        right: Row = {}
        for entity in made.entities:
            right |= expected(made, everything, row, entity)
        got = found[row["claim_id"]]
        assert {k for k, v in got.items() if v is None} == {
            k for k, v in right.items() if v is None
        }
        wrong = {k: (got[k], v) for k, v in right.items() if v is not None and not near(got[k], v)}
        assert not wrong, row


@hypothesis_settings(max_examples=15, deadline=None)
@given(claims(at_least=2), claims(prefix="later"), st.integers(0, 13), st.randoms())
def test_no_future_claim_and_no_label_yet_unknown_changes_a_feature(
    rows: list[Row], others: list[Row], which: int, random: Any
) -> None:
    made = contract()
    probe = rows[which % len(rows)]
    now = probe["event_time"]
    before = features(made, rows)
    changed = [other | {"event_time": max(now, other["event_time"])} for other in others]
    for row in rows:
        if row["event_time"] < now or row is probe:
            unknown = max(row["label_time"] or now, row["event_time"] + made.label.delay) >= now
            other_label = {"label": random.choice([0, 1]), "label_time": now}
            changed.append(row | other_label if unknown else row)
        # every other claim at `now` or later is gone
    for other in changed:
        if other["label"] is not None:
            other["label_time"] = max(other["label_time"], other["event_time"])
    after = features(made, changed)
    kept = [r["claim_id"] for r in rows if r["event_time"] < now or r is probe]
    assert {c: after[c] for c in kept} == {c: before[c] for c in kept}


@hypothesis_settings(max_examples=5, deadline=None)
@given(claims(), st.randoms())
def test_features_do_not_depend_on_the_order_of_the_rows(rows: list[Row], random: Any) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert features(contract(), rows) == features(contract(), shuffled)


def one(days: float, **values: Any) -> Row:
    return {"claim_id": f"d{days}", "event_time": START + timedelta(days=days)} | values


def test_a_window_begins_exactly_n_days_before_and_ends_just_before_the_claim() -> None:
    rows = [one(0, card="x", amount=10.0), one(1, card="x"), one(1, claim_id="tie", card="x")]
    rows.append(one(1.00001, claim_id="late", card="x"))
    found = features(contract(), rows)
    assert found["d1"]["card_claims_1d"] == 1
    assert found["tie"]["card_claims_1d"] == 1
    assert found["tie"]["card_days_since_last"] == 1
    assert found["late"]["card_claims_1d"] == 2
    assert found["late"]["card_amount_sum_1d"] == 0
    assert found["late"]["card_amount_mean_1d"] is None
    assert found["late"]["card_amount_sum_7d"] == 10
    assert found["d0"]["card_days_since_last"] is None


def test_a_history_reaches_no_further_than_the_longest_window() -> None:
    longest = max(contract().windows)
    rows = [one(0, card="x"), one(longest, card="x"), one(2 * longest + 0.1, card="x")]
    found = features(contract(), rows)
    since = [found[row["claim_id"]]["card_days_since_last"] for row in rows]
    assert since == [None, longest, None]


def test_a_label_counts_from_when_it_became_known_never_before_the_delay() -> None:
    known_at_once = {"label": 1, "label_time": START}
    rows = [one(0, card="x", **known_at_once), one(7, card="x"), one(7.5, card="x")]
    rows.append(one(8.1, card="x"))
    lifts = {c: f["card_fraud_lift_1d"] for c, f in features(contract(), rows).items()}
    assert lifts["d7.5"] > lifts["d7"]  # known at day 7, used strictly after it
    assert lifts["d8.1"] < lifts["d7.5"]  # a day later it has left the window of one day
    assert lifts["d8.1"] == pytest.approx(1)  # as often as everybody


@pytest.mark.parametrize(("days", "known"), [(8, None), (9, 1)])
def test_a_label_that_is_known_after_as_of_is_not_there(
    tmp_path: Path, days: int, known: int | None
) -> None:
    rows = [one(0, card="x", label=1, label_time=START + timedelta(days=9)), one(5, card="x")]
    claims = table(contract(), [*early_claims(), *rows])
    built = build(tmp_path, contract(), claims, as_of=START + timedelta(days=days))
    found = read_window(built, "oot").to_pylist()
    assert {row["claim_id"]: row["label"] for row in found}["d0"] == known


def test_a_claim_that_comes_after_as_of_is_not_there() -> None:
    rows = [one(days, card="x") for days in (0, 5, 20)]
    found = features(contract(), rows, as_of=START + timedelta(days=5))
    assert {"d0", "d5"} <= set(found)
    assert "d20" not in found


def test_counterparties_are_counted_once_however_often_they_come_back() -> None:
    shops = {0: "x", 0.2: "x", 0.4: "y", 0.9: None, 1.3: "x"}
    rows = [one(days, card="c", shop=shop) for days, shop in shops.items()]
    rows += [one(1.35, card="c"), one(1.5, card="c"), one(5, card="c")]
    found = features(contract(), rows)
    seen = {c: (f["card_distinct_shop_1d"], f["card_distinct_shop_7d"]) for c, f in found.items()}
    assert seen["d0.9"] == (2, 2)
    assert seen["d1.3"] == (1, 2)  # y alone is left of the day before
    assert seen["d1.35"] == (2, 2)
    assert seen["d1.5"] == (1, 2)
    assert seen["d5"] == (0, 2)


def test_entities_without_any_repetition_have_an_empty_history() -> None:
    rows = [one(i, card=f"c{i}", shop=f"s{i}") for i in range(5)]
    for found in features(contract(), rows).values():
        assert found["card_claims_30d"] in (0, None)
        assert found["card_days_since_last"] is None


def test_a_feature_may_not_bear_the_name_of_a_column() -> None:
    with pytest.raises(ContractError, match="card_claims_7d"):
        entity_feature_names(contract(numeric=["card_claims_7d"]))
