"""Any contract that can be written is the same after a way through JSON."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_mlops.contract import Contract

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
names = st.from_regex(r"\A[a-z][a-z0-9_]{0,8}\Z")
durations = st.builds(lambda n, u: f"{n}{u}", st.integers(0, 9999), st.sampled_from("smhdw"))
moments = st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    columns = draw(st.lists(words.map("c_".__add__), min_size=9, max_size=14, unique=True))
    event, label, label_time, claim_id, amount, agent, *features = columns
    cut = draw(st.integers(0, len(features)))
    marks = sorted(draw(st.lists(moments, min_size=6, max_size=6, unique=True)))
    windows = [{"start": a, "end": b} for a, b in zip(marks[::2], marks[1::2], strict=True)]
    by_dates = dict(zip(["train", "validation", "oot"], windows, strict=True))
    maybe = st.booleans()
    return Contract.model_validate(
        {
            "name": draw(names),
            "description": draw(words),
            "source": {
                "uri": draw(words),
                "format": draw(st.sampled_from([None, "csv", "parquet"])),
                "csv": {"separator": draw(st.sampled_from(",;|\t"))},
            }
            if draw(maybe)
            else {"kind": "synthetic", "start": marks[0], "end": marks[1]},
            "claim_id": claim_id if draw(maybe) else None,
            "amount": amount if draw(maybe) else None,
            "event_time": {"column": event, "format": draw(st.sampled_from([None, "%d.%m.%Y"]))},
            "label": {
                "column": label,
                "delay": draw(durations),
                "time_column": label_time if draw(maybe) else None,
            },
            "entities": {f"e_{draw(names)}": agent} if draw(maybe) else {},
            "numeric": tuple(features[:cut]) if draw(maybe) else None,
            "categorical": tuple(features[cut:]) if draw(maybe) else None,
            "missing": {features[0]: draw(st.lists(words, max_size=3))} if draw(maybe) else {},
            "split": draw(st.sampled_from([by_dates, {"gap": "3d"}, {}])),
            "quality": {
                "max_bad_share": draw(st.floats(0, 1)),
                "min_amount": draw(st.floats(-9, 9)),
            },
            "partition": draw(st.sampled_from(["day", "week", "month"])),
        }
    )


@given(contracts())
@settings(max_examples=100, deadline=None)
def test_a_contract_survives_json_and_python(made: Contract) -> None:
    """It travels in manifests and run artifacts."""
    assert Contract.model_validate_json(made.model_dump_json()) == made
    assert Contract.model_validate(made.model_dump()) == made
