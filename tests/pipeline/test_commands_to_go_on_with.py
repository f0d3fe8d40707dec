"""What a run says to do next is done in the run's own lakehouse, with its own models."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraud_mlops.command_options import options
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.settings import settings


def plan(**given: str) -> str:
    return plan_run("synthetic_claims", run="Test/1", **given).options


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def test_the_lakehouse_of_the_settings_is_not_named() -> None:
    assert plan() == "--dataset synthetic_claims"
    assert plan(output_uri="./lakehouse/") == "--dataset synthetic_claims"


def test_another_lakehouse_is_named_so_that_its_models_are_found_in_it(folder: Path) -> None:
    assert plan(output_uri="my sample") == (
        f"--dataset synthetic_claims --output-uri '{folder}/my sample'"
    )


def test_models_elsewhere_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = f"--dataset synthetic_claims --model-uri {folder}/models"
    assert plan(model_uri="models") == elsewhere
    monkeypatch.setenv("FRAUD_MODEL_URI", "models")
    settings.cache_clear()
    assert plan() == "--dataset synthetic_claims"
    assert plan(output_uri="sample") == f"--dataset synthetic_claims --output-uri {folder}/sample"


def test_what_is_told_is_what_it_was_told_of(folder: Path) -> None:
    told = shlex.split(plan(output_uri="my sample", model_uri="my models"))
    given = dict(zip(told[::2], told[1::2], strict=True))
    again = plan_run(
        given["--dataset"], run="Test/2",
        output_uri=given["--output-uri"], model_uri=given["--model-uri"],
    )  # fmt: skip
    assert (again.output_uri, again.model_uri) == (f"{folder}/my sample", f"{folder}/my models")


def test_an_odd_lakehouse_of_the_settings_is_no_fault_of_a_run_that_has_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_URI", "https://account.blob.core.windows.net/claims")
    settings.cache_clear()
    assert plan(output_uri="sample") == f"--dataset synthetic_claims --output-uri {folder}/sample"
    assert options("motor", models="s3://m") == "--dataset motor --model-uri s3://m"


def test_a_command_of_the_registry_alone_names_that() -> None:
    assert options("motor", models="s3://models/m") == ("--dataset motor --model-uri s3://models/m")
