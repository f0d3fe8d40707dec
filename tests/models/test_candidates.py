"""Candidates come from defaults, from seeded draws, or from a data scientist's YAML list."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraud_mlops.errors import ContractError
from fraud_mlops.models.candidates import Candidate, draw_candidates, load_candidates


def test_the_first_three_are_one_strong_default_of_each_family() -> None:
    assert [c.name for c in draw_candidates(3, seed=0)] == ["tabm-1", "mlp-1", "logistic-1"]


def test_the_same_seed_draws_the_same_list_and_a_longer_one_begins_alike() -> None:
    assert draw_candidates(12, seed=5)[:7] == draw_candidates(7, seed=5)
    drawn, other = draw_candidates(12, seed=5), draw_candidates(12, seed=6)
    assert [c.params for c in drawn[3:]] != [c.params for c in other[3:]]


def test_names_are_unique_and_draws_differ() -> None:
    candidates = draw_candidates(20, seed=1)
    assert len({c.name for c in candidates}) == 20
    assert len({c.params.model_dump_json() for c in candidates}) == 20
    assert {c.family for c in candidates} == {"tabm", "mlp", "logistic"}


def test_a_candidate_survives_json() -> None:
    for candidate in draw_candidates(8, seed=2):
        assert Candidate.model_validate_json(candidate.model_dump_json()) == candidate


def test_a_candidate_without_distillation_is_written_as_before_there_was_any() -> None:
    """So that the same training makes the same version, and earlier releases can read it."""
    kinds = [candidate.params.model_dump(mode="json") for candidate in draw_candidates(4, seed=0)]
    assert ["distillation" in params for params in kinds] == [False, False, False, True]


def test_a_list_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "- name: wide\n  family: tabm\n  seed: 7\n  params:\n    width: 512\n    k: 16\n"
        "- {name: plain, family: logistic}\n"
    )
    wide, plain = load_candidates(path)
    assert (wide.family, wide.seed, wide.params.model_dump()["width"]) == ("tabm", 7, 512)
    assert plain.family == "logistic"


def test_every_mistake_of_a_list_is_told_with_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "- name: a\n  family: tabm\n  params:\n    width: 2\n    hidden: 3\n"
        "- name: a\n  family: boosting\n"
        "- name: b\n  family: logistic\n"
        "- name: b\n  family: logistic\n"
    )
    with pytest.raises(ContractError) as caught:
        load_candidates(path)
    message = str(caught.value)
    assert f"{path}: 4 mistake(s)" in message
    assert "line 4, column 5: params.width: Input should be greater than or equal to 4" in message
    assert "line 5, column 5: params.hidden: Extra inputs are not permitted" in message
    assert "'logistic', 'mlp', 'tabm'" in message
    assert "line 10, column 3: name: 'b' twice" in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- name: [", "not YAML: line 1"),
        ("name: a\n", "expected a list"),
        ("", "expected a list"),
        ("- just-a-name\n", "line 1, column 3"),
    ],
)
def test_a_file_that_is_no_list_of_candidates(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ContractError, match=told):
        load_candidates(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="cannot be read"):
        load_candidates(tmp_path / "none.yaml")
