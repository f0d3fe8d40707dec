"""Feature sets of whole datasets: windows, files, and what happens when something is amiss."""

from __future__ import annotations

import os
import resource
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from made_claims import FAR_FUTURE, START, build, contract, early_claims, table, write_raw

from fraud_mlops import catalog
from fraud_mlops.claims import ingest
from fraud_mlops.contract import Contract
from fraud_mlops.errors import FraudMlopsError, LakehouseError, SplitError
from fraud_mlops.features import histories
from fraud_mlops.features.build import FeatureSet, build_features, read_window, window_batches
from fraud_mlops.features.windows import entity_feature_names
from fraud_mlops.lakehouse.partitions import Lakehouse


def quiet(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    """Features of 6,000 generated claims, through ingest."""
    lake = Lakehouse(tmp_path_factory.mktemp("lake").as_posix())
    as_of = datetime(2025, 1, 1, tzinfo=UTC)
    report = ingest(
        catalog.load("synthetic_claims"), lake,
        launch_id="r", as_of=as_of, sample_size=6000, progress=quiet,
    )  # fmt: skip
    return build_features(
        report.contract, lake, report.partitions, launch_id="r", as_of=as_of, progress=quiet
    )


def test_windows_hold_their_claims_in_order_of_time(synthetic: FeatureSet) -> None:
    for name, window in synthetic.split.named().items():
        claims = read_window(synthetic, name)
        times = claims["event_time"].to_pylist()
        assert times == sorted(times)
        assert window.start <= times[0]
        assert times[-1] < window.end or name == "oot"
        file = synthetic.windows[name]
        assert (
            claims.num_rows == file.rows == sum(b.num_rows for b in window_batches(synthetic, name))
        )
        assert pc.sum(claims["label"]).as_py() == file.frauds > 0
        assert claims.num_rows - claims["label"].null_count == file.labelled


def test_oot_goes_on_after_its_window_with_claims_whose_label_is_not_known(
    synthetic: FeatureSet,
) -> None:
    claims = read_window(synthetic, "oot", ["event_time", "label"])
    late = claims.filter(pc.greater_equal(claims["event_time"], pa.scalar(synthetic.split.oot.end)))
    assert late.num_rows > 0
    assert late["label"].null_count > 0


def test_columns_are_the_raw_ones_and_a_feature_for_every_entity_and_window(
    synthetic: FeatureSet,
) -> None:
    made = synthetic.contract
    names = entity_feature_names(made)
    assert synthetic.numeric == ("amount", *(made.numeric or ()), *names)
    assert read_window(synthetic, "validation").column_names == [
        *("claim_id", "event_time", "label", "label_time", "amount"),
        *made.entities,
        *(made.numeric or ()),
        *names,
        *(made.categorical or ()),
    ]
    assert len(names) == 4 * (4 * 7 + 1)


def test_a_feature_set_survives_json(synthetic: FeatureSet) -> None:
    again = FeatureSet.model_validate_json(synthetic.model_dump_json())
    assert again == synthetic
    assert read_window(again, "train", ["claim_id"]).num_rows == synthetic.windows["train"].rows


def transactions(rows: int = 3000) -> tuple[Contract, pa.Table]:
    """Cards at shops, timestamps to the second, a week's label delay, split by shares."""
    made = contract(split={"train": 0.6, "validation": 0.2, "oot": 0.2})
    rng = np.random.default_rng(3)
    seconds = np.sort(rng.integers(0, 90 * 86_400, rows))
    claims = [
        {
            "claim_id": f"t{i:05d}",
            "event_time": START + timedelta(seconds=int(s)),
            "label": int(rng.random() < 0.1),
            "label_time": START + timedelta(days=7, seconds=int(s)),
            "amount": float(rng.lognormal(3, 1)),
            "card": f"card-{rng.integers(0, 200)}",
            "shop": f"shop-{rng.integers(0, 50)}" if rng.random() > 0.05 else None,
        }
        for i, s in enumerate(seconds)
    ]
    return made, table(made, claims)


def test_transactions_leave_a_week_between_windows(tmp_path: Path) -> None:
    made, claims = transactions()
    built = build(tmp_path, made, claims)
    last = {name: read_window(built, name)["event_time"][-1].as_py() for name in built.windows}
    first = {name: read_window(built, name)["event_time"][0].as_py() for name in built.windows}
    assert first["validation"] - last["train"] >= timedelta(days=7)
    assert first["oot"] - last["validation"] >= timedelta(days=7)
    oot = read_window(built, "oot")
    assert pc.mean(oot["card_claims_30d"]).as_py() == pytest.approx(5, rel=0.3)
    assert oot["shop_claims_7d"].null_count == oot["shop"].null_count > 0


def test_histories_reach_back_to_where_claims_begin_and_not_to_a_wrong_year(
    tmp_path: Path,
) -> None:
    made, claims = transactions()
    begins = claims["event_time"][1].as_py()
    times = [START - timedelta(days=5000), *claims["event_time"].to_pylist()[1:]]
    at = claims.column_names.index("event_time")
    wrong = claims.set_column(at, "event_time", pa.array(times, claims.schema.field(at).type))
    built = build(tmp_path, made, wrong)
    assert built.records_from == begins
    assert read_window(built, "train")["event_time"][0].as_py() == times[0]


def test_a_wide_table_without_entity_or_amount(tmp_path: Path) -> None:
    names = [f"v{i}" for i in range(38)]
    made = contract(
        entities={}, amount=None, numeric=names, categorical=["Kind", "kind"],
        split={"train": 0.6, "validation": 0.2, "oot": 0.2, "gap": "0d"},
    )  # fmt: skip
    rng = np.random.default_rng(4)
    rows = [
        {
            "claim_id": f"r{i}",
            "event_time": START + timedelta(hours=i),
            "label": int(i % 7 == 0),
            "label_time": START + timedelta(days=7, hours=i),
            "Kind": "a",
            "kind": None,
        }
        | dict(zip(names, rng.random(38).tolist(), strict=True))
        for i in range(1000)
    ]
    built = build(tmp_path, made, table(made, rows))
    assert built.numeric == tuple(names)
    assert built.categorical == ("Kind", "kind")
    assert sum(file.rows for file in built.windows.values()) == 1000
    assert read_window(built, "train")["Kind"].unique().to_pylist() == ["a"]


def test_the_same_claims_give_the_same_content_whatever_their_order(tmp_path: Path) -> None:
    made, claims = transactions()
    shuffled = claims.take(np.random.default_rng(5).permutation(len(claims)))
    first, second = build(tmp_path / "a", made, claims), build(tmp_path / "b", made, shuffled)
    assert [f.data_version for f in first.windows.values()] == [
        f.data_version for f in second.windows.values()
    ]


def test_claims_of_one_moment_stand_in_order_of_their_ids(tmp_path: Path) -> None:
    ties = [{"claim_id": f"tie-{i}", "event_time": START} for i in (3, 1, 4, 0, 2)]
    built = build(tmp_path, contract(), table(contract(), [*ties, *early_claims()]))
    ids = read_window(built, "oot", ["claim_id"])["claim_id"].to_pylist()
    assert ids[2:] == [f"tie-{i}" for i in range(5)]


def test_histories_worked_on_in_parts_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, claims = transactions()
    whole = build(tmp_path / "a", made, claims)
    monkeypatch.setattr("fraud_mlops.features.histories._BUCKET_ROWS", 700)
    monkeypatch.setattr("fraud_mlops.features.histories._SLICE_ROWS", 123)
    assert build(tmp_path / "b", made, claims).windows["oot"].data_version == (
        whole.windows["oot"].data_version
    )


def test_a_disk_without_room_is_told_before_the_work_and_kills_nothing(tmp_path: Path) -> None:
    """A page of a mapped file that the disk does not take would end the process with a signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(FraudMlopsError, match=r"no room for 3\.0 GiB .* set TMPDIR"):
            histories.file_of(tmp_path, 3 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_features_go_to_and_come_from_any_store() -> None:
    made, claims = transactions(1000)
    lake = Lakehouse("memory://features-test")
    raw = write_raw(lake, made, claims)
    built = build_features(made, lake, raw, launch_id="r", as_of=FAR_FUTURE, progress=quiet)
    assert built.windows["train"].uri.startswith("memory://features-test/features/made/r/")
    assert read_window(built, "train").num_rows == built.windows["train"].rows


def test_a_raw_partition_that_was_replaced_stops_the_build(tmp_path: Path) -> None:
    made, claims = transactions(100)
    lake = Lakehouse(tmp_path.as_posix())
    raw = write_raw(lake, made, claims)
    write_raw(lake, made, claims.slice(1))
    with pytest.raises(LakehouseError, match="another run has replaced the partition"):
        build_features(made, lake, raw, launch_id="r", as_of=FAR_FUTURE, progress=quiet)
    assert not (tmp_path / "features").exists()


def test_a_raw_partition_of_an_older_contract_says_ingest_again(tmp_path: Path) -> None:
    made, claims = transactions(100)
    lake = Lakehouse(tmp_path.as_posix())
    raw = write_raw(lake, made, claims)
    newer = made.model_copy(update={"numeric": ("kilometres",)})
    with pytest.raises(LakehouseError, match=r"lacks columns kilometres.*ingest again"):
        build_features(newer, lake, raw, launch_id="r", as_of=FAR_FUTURE, progress=quiet)


def test_a_window_without_fraud_stops_the_build_before_anything_is_written(tmp_path: Path) -> None:
    rows = [row | {"label": 0} for row in early_claims()]
    with pytest.raises(SplitError, match=r"train .*: no fraud among its 2 labelled claims"):
        build(tmp_path, contract(), table(contract(), rows))
    assert not (tmp_path / "features").exists()


def test_feature_sets_older_than_a_week_are_removed_but_never_the_new_one(tmp_path: Path) -> None:
    claims = table(contract(), early_claims())
    old, recent = (build(tmp_path, contract(), claims, launch_id=n) for n in ("old", "recent"))
    for days, built in ((8, old), (6, recent)):
        for file in built.windows.values():
            os.utime(file.uri, times=(time.time() - days * 86_400,) * 2)
    built = build(tmp_path, contract(), claims, launch_id="new")
    assert sorted(os.listdir(tmp_path / "features/made")) == ["new", "recent"]  # noqa: PTH208
    assert read_window(built, "oot").num_rows == 2
    with pytest.raises(LakehouseError, match="no longer there; they are kept for a week"):
        read_window(old, "oot")


def test_features_that_another_run_replaced_are_refused(tmp_path: Path) -> None:
    first = build(tmp_path, contract(), table(contract(), early_claims()))
    changed = [row | {"amount": 5.0} for row in early_claims()]
    build(tmp_path, contract(), table(contract(), changed))
    with pytest.raises(LakehouseError, match="replaced"):
        list(window_batches(first, "train"))
