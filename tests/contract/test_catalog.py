"""A dataset is a YAML: found by name or path, and told line by line where it is wrong."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraud_mlops import catalog
from fraud_mlops.contract import Contract
from fraud_mlops.errors import ContractError, LakehouseError
from fraud_mlops.lakehouse.stores import filesystem
from fraud_mlops.settings import settings
from fraud_mlops.sources import FileSource, SyntheticSource

MOTOR = """\
name: motor
source: {uri: motor.csv}
event_time: {column: reported}
label: {column: fraud, delay: 30d}
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Started in an empty folder, with no setting but those of the test."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.delenv("FRAUD_DATASETS_DIR", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


def write(path: Path, text: str = MOTOR) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def uri(contract: Contract) -> str:
    assert isinstance(contract.source, FileSource)
    return contract.source.uri


def mistakes(path: Path, text: str) -> str:
    with pytest.raises(ContractError) as error:
        catalog.load(write(path, text))
    return str(error.value)


# Finding -----------------------------------------------------------------------------------


def test_the_projects_own_datasets_are_known_by_name() -> None:
    assert {"synthetic_claims", "vehicle_claims"} <= catalog.available().keys()
    assert isinstance(catalog.load("synthetic_claims").source, SyntheticSource)
    assert uri(catalog.load("vehicle_claims")).endswith("/shared/data/vehicle_claims.csv")


def test_a_yaml_in_the_datasets_folder_goes_by_its_name(tmp_path: Path) -> None:
    write(tmp_path / "cwd" / "datasets" / "motor.yaml")
    assert catalog.load("motor").name == "motor"


def test_a_folder_of_ones_own_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "cwd" / "datasets" / "motor.yaml", MOTOR + "version: 1\n")
    write(tmp_path / "ours" / "motor.yml", MOTOR + "version: 2\n")
    monkeypatch.setenv("FRAUD_DATASETS_DIR", str(tmp_path / "ours"))
    settings.cache_clear()
    assert catalog.load("motor").version == 2
    assert "vehicle_claims" in catalog.available()


def test_a_folder_of_ones_own_that_is_none_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_DATASETS_DIR", str(tmp_path / "nowhere"))
    settings.cache_clear()
    with pytest.raises(ContractError, match=r"FRAUD_DATASETS_DIR=.*nowhere: is no folder"):
        catalog.load("motor")


def test_a_yaml_anywhere_goes_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "far" / "away" / "contract.yml")
    monkeypatch.setenv("HOME", str(tmp_path))
    for dataset in (path, str(path), "../far/away/contract.yml", "~/far/away/contract.yml"):
        assert catalog.load(dataset).name == "motor"


def test_an_unknown_name_comes_with_the_known_ones() -> None:
    with pytest.raises(ContractError, match=r"'moter'.*Known: .*synthetic_claims.*vehicle_claims"):
        catalog.load("moter")
    with pytest.raises(ContractError, match="no such contract file"):
        catalog.load("datasets/motor.yaml")


def test_a_contract_in_a_datasets_folder_has_the_name_of_its_file(tmp_path: Path) -> None:
    """What looks it up by the file, and what keeps claims and models by the name, are at one."""
    path = write(tmp_path / "cwd" / "datasets" / "copied.yaml")
    for dataset in ("copied", str(path), "datasets/copied.yaml"):
        with pytest.raises(ContractError) as refused:
            catalog.load(dataset)
        assert f"{path}: 1 mistake" in str(refused.value)
        assert "line 1, column 1: name: is 'motor', and the file is called 'copied'" in str(
            refused.value
        )
        assert "else call the file motor.yaml" in str(refused.value)
    path.rename(tmp_path / "copied.yaml")
    assert catalog.load(tmp_path / "copied.yaml").name == "motor"


# Source ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("motor.csv", "{folder}/motor.csv"),
        ("../data/*.parquet", "{parent}/data/*.parquet"),
        ("/data/motor.csv", "/data/motor.csv"),
        ("s3://bucket/motor/", "s3://bucket/motor/"),
        ("memory://motor.csv", "memory://motor.csv"),
        ("~/motor.csv", "/home/user/motor.csv"),
    ],
)
def test_a_relative_source_is_meant_from_the_yamls_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, meant: str
) -> None:
    monkeypatch.setenv("HOME", "/home/user")
    folder = tmp_path / "contracts"
    write(folder / "motor.yaml", MOTOR.replace("motor.csv", f"'{written}'"))
    monkeypatch.chdir(tmp_path)
    contract = catalog.load("contracts/motor.yaml")
    assert uri(contract) == meant.format(folder=folder, parent=tmp_path)


def test_a_contract_that_is_a_link_has_the_links_folder(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap: claims.yaml -> ..data/claims.yaml."""
    motor = MOTOR.replace("motor.csv", "../in/*")
    there = write(tmp_path / "conf" / "..2026" / "motor.yaml", motor)
    link = tmp_path / "conf" / "motor.yaml"
    link.symlink_to(there)
    assert uri(catalog.load(link)) == f"{tmp_path}/in/*"
    folder = tmp_path / "cwd" / "datasets"
    folder.mkdir()
    (folder / "motor.yaml").symlink_to(there)
    assert uri(catalog.load("motor")) == f"{tmp_path}/cwd/in/*"


# Mistakes ----------------------------------------------------------------------------------


def test_every_mistake_is_told_at_once_with_line_column_and_field(tmp_path: Path) -> None:
    told = mistakes(
        path := tmp_path / "motor.yaml",
        """\
        name: Motor
        source:
          uri: motor.csv
          csv:
            seperator: ";"
        event_time: {column: reported}
        label:
          column: fraud
          delay: 30
        numeric: [age, 7]
        split:
          train: {start: 2024-01-01, end: 2024-07-01}
          validation: {start: 2024, end: 2024-09-01}
        """,
    )
    title, *lines = told.splitlines()
    assert title == f"{path}: 6 mistake(s) in the contract"
    assert [line.split(": ")[:2] for line in lines] == [
        ["  line 1, column 1", "name"],
        ["  line 5, column 5", "source.csv.seperator"],
        ["  line 9, column 3", "label.delay"],
        ["  line 10, column 16", "numeric.1"],
        ["  line 13, column 16", "split.validation.start"],
        ["  line 11, column 1", "split.oot"],
    ]
    assert "write 30d" in told


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("amout: paid", "amout: there is no such field (did you mean 'amount'?)"),
        ("Amount: paid", "Amount: there is no such field (did you mean 'amount'?)"),
        ("source: {ury: motor.csv}", "source.ury: there is no such field (did you mean 'uri'?)"),
        ("source: {uri: a.csv, csv: {seperator: ;}}", "(did you mean 'separator'?)"),
        ("split: {training: 0.6}", "split.training: there is no such field (did you mean 'train'?"),
        ("split: {train: {start: 2024-01-01, ende: 2025-01-01}}", "(did you mean 'end'?)"),
        ("colour: red", "line 5, column 1: colour: there is no such field"),
    ],
)
def test_a_field_that_there_is_not_is_told_with_the_closest_there_is(
    tmp_path: Path, wrong: str, told: str
) -> None:
    field = wrong.partition(":")[0]
    rest = [line for line in MOTOR.splitlines() if not line.startswith(f"{field}:")]
    found = mistakes(tmp_path / "a.yaml", "\n".join([*rest, wrong]) + "\n")
    assert told in found
    assert field != "colour" or "did you mean" not in found


def test_a_rule_over_several_fields_is_told_where_they_begin(tmp_path: Path) -> None:
    told = mistakes(tmp_path / "a.yaml", MOTOR + "amount: fraud\n")
    assert "column 'fraud' is both label and amount" in told
    told = mistakes(tmp_path / "a.yaml", MOTOR + "split: {train: 0.5, validation: 0.1, oot: 0.1}\n")
    assert "line 5, column 1: split: " in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected a mapping"),
        ("- a\n- b\n", "expected a mapping"),
        ("name: [a\nsource: b\n", "not YAML: line 2, column 7"),
        ("name: a\n\tsource: b\n", "not YAML: line 2, column 1"),
        ("name: a\n---\nname: b\n", "not YAML: line 2, column 1"),
        (MOTOR + "name: b\n", "line 5, column 1: 'name' stands here a second time"),
        (
            MOTOR + "numeric: [a]\nnumeric: [b]\n",
            "line 6, column 1: 'numeric' stands here a second",
        ),
        (
            MOTOR.replace("30d", "2024-02-30"),
            "line 4, column 31: '2024-02-30': day is out of range",
        ),
        ("1: a\n", "mistake(s)"),
        ("? [a, b]\n: c\n", ""),
    ],
)
def test_what_is_not_even_a_mapping_is_told(tmp_path: Path, text: str, told: str) -> None:
    message = mistakes(path := tmp_path / "broken.yaml", text)
    assert str(path) in message
    assert told in message


def test_a_yaml_may_have_a_byte_order_mark_but_must_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / "motor.yaml"
    path.write_text(MOTOR, encoding="utf-8-sig")
    assert catalog.load(path).name == "motor"
    path.write_bytes(b"name: m\xf6tor\n")
    with pytest.raises(ContractError, match="cannot be read"):
        catalog.load(path)


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    windows = """\
    split:
      train: &all {start: 2024-01-01, end: 2024-07-01}
      validation: {<<: *all, start: 2024-07-01, end: 2024-09-01}
      oot: {start: 2024-09-01, end: 2025-01-01}
    """
    path = write(tmp_path / "motor.yaml", MOTOR + textwrap.dedent(windows))
    assert catalog.load(path).split.gap is None


# Secrets -----------------------------------------------------------------------------------

HIDDEN = "hunter2-not-to-be-shown"


@pytest.mark.parametrize(
    "address",
    [
        f"https://ana:{HIDDEN}@files.example/claims.csv",
        f"https://acct.blob.core.windows.net/lake/claims.csv?sv=2024&sig={HIDDEN}",
        f"https://lake.s3.amazonaws.com/claims.csv?X-Amz-Signature={HIDDEN}",
        f"https://files.example/claims.csv?access_token={HIDDEN}",
    ],
)
def test_an_address_with_a_credential_is_refused_without_repeating_it(
    tmp_path: Path, address: str
) -> None:
    text = mistakes(tmp_path / "m.yaml", MOTOR.replace("motor.csv", f"'{address}'"))
    assert "line 2" in text
    assert "in the environment" in text
    assert HIDDEN not in text
    with pytest.raises(LakehouseError) as error:
        filesystem(address)
    assert HIDDEN not in str(error.value)


@pytest.mark.parametrize(
    "address",
    ["abfss://lake@acct.dfs.core.windows.net/raw", "s3://lake/day=2024-01-01/*.csv", "a:b@c.csv"],
)
def test_an_address_without_a_credential_stands(tmp_path: Path, address: str) -> None:
    made = catalog.load(write(tmp_path / "m.yaml", MOTOR.replace("motor.csv", f"'{address}'")))
    assert uri(made).endswith(address)
