"""One name is one source: no other is written over it, and one that moves says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import fsspec
import pytest
from claims_kit import claims, contract, csv_text, lakehouse, take_in, write_csv

from fraud_mlops import catalog
from fraud_mlops.errors import LakehouseError, SourceError
from fraud_mlops.lakehouse.ranges import PartitionRange


def test_a_contract_that_was_copied_with_its_name_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    ours, theirs = (write_csv(tmp_path / f"{who}.csv", claims(40)) for who in ("ours", "theirs"))
    lake = lakehouse(tmp_path)
    before = take_in(contract(ours), lake).partitions
    for ranged in (None, PartitionRange.of("2024-01", None, "month")):
        with pytest.raises(LakehouseError, match=r"ours\.csv, .* another `name`") as refused:
            take_in(contract(theirs), lake, partitions=ranged)
        assert f'`source.same_as: ["{ours}"]`' in str(refused.value)
    assert tuple(lake.partitions("raw", "motor")) == before
    take_in(contract(theirs, name="other"), lake)


def test_a_source_that_has_moved_says_where_it_was(tmp_path: Path) -> None:
    """From a folder to a store, say; what was written last speaks for it from then on."""
    here, lake = write_csv(tmp_path / "claims.csv", claims(40)), lakehouse(tmp_path)
    before = take_in(contract(here), lake).partitions
    there = f"memory://{tmp_path.name}/claims.csv"
    with fsspec.open(there, "w") as stream:
        stream.write(csv_text(claims(40)))
    with pytest.raises(LakehouseError, match="the source has moved"):
        take_in(contract(there), lake)
    moved = take_in(contract(there, source={"same_as": [str(here)]}), lake).partitions
    assert [p.data_version for p in moved] == [p.data_version for p in before]
    take_in(contract(there), lake)


def test_where_it_was_is_meant_from_the_yamls_folder_too(tmp_path: Path) -> None:
    path = tmp_path / "motor.yaml"
    text = """
        {name: motor, event_time: {column: at}, label: {column: fraud, delay: 7d},
         source: {uri: new/*.csv, same_as: [old/*.csv, "s3://claims/*.csv"]}}
    """
    path.write_text(text, encoding="utf-8")
    source = catalog.load(path).source
    assert source.kind == "file"
    assert source.same_as == (f"{tmp_path}/old/*.csv", "s3://claims/*.csv")


def test_a_folder_is_the_same_by_another_way_to_it(tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "claims.csv", claims(40))
    (tmp_path / "link").symlink_to(tmp_path / "in")
    lake = lakehouse(tmp_path)
    take_in(contract(tmp_path / "in"), lake)
    for way in (f"{tmp_path}/in/", f"file://{tmp_path}/in", str(tmp_path / "link")):
        take_in(contract(way), lake)


def test_generated_claims_and_those_of_files_are_two_sources(tmp_path: Path) -> None:
    generated, lake = catalog.load("synthetic_claims"), lakehouse(tmp_path)
    take_in(generated, lake, sample_size=500)
    read = contract(write_csv(tmp_path / "claims.csv", claims(40)), name=generated.name)
    with pytest.raises(LakehouseError, match="holds generated claims") as refused:
        take_in(read, lake)
    assert "same_as" not in str(refused.value)
    assert "begin anew, move what was written away" in str(refused.value)
    shutil.rmtree(lake.uri("raw", generated.name))
    take_in(read, lake)


def test_a_mistyped_address_is_told_as_such(tmp_path: Path) -> None:
    path, lake = write_csv(tmp_path / "claims.csv", claims(40)), lakehouse(tmp_path)
    take_in(contract(path), lake)
    with pytest.raises(SourceError, match=r"did you mean claims\.csv"):
        take_in(contract(tmp_path / "claim.csv"), lake)
