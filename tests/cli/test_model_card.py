"""`model-card`: a page for those who have to answer for a model."""

from __future__ import annotations

import json
from pathlib import Path

from registry_kit import manifest, publish

from fraud_mlops.registry.bundle import Manifest
from fraud_mlops.reporting.model_card import model_card

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "champion.json"


def test_the_champions_card_says_what_it_is_and_how_good(ran) -> None:
    text = ran.says("model-card", "--dataset", "motor")
    [version] = [path.name for path in (ran.models / "motor").glob("2*")]
    assert text.startswith(f"# Model card: motor {version}\n")
    assert "| role | champion since " in text
    assert "| average precision | 0.500 | 0.400 to 0.600 |" in text
    assert "never denies a claim by itself" in text
    assert "| Metaflow run | FraudDetectionFlow/17 |" in text
    [weights] = [line for line in text.splitlines() if line.startswith("| weights.safetensors")]
    assert len(weights.split("|")[3].strip()) == 64  # sha256


def test_of_any_version_into_a_file(ran, tmp_path: Path) -> None:
    other = publish(ran.models, "b")
    file = tmp_path / "cards" / "b.md"
    told = ran.says("model-card", other, "--dataset", "motor", "--output", str(file))
    assert other in told
    assert "| role | none |" in file.read_text()


def test_without_a_champion_it_says_so(shell) -> None:
    assert "has no champion" in shell.fails("model-card", "--dataset", "motor")


def test_a_whole_manifest_has_slices_decision_and_data() -> None:
    card = model_card(Manifest.model_validate_json(EXAMPLE.read_text()))
    for words in (
        "2,966 labelled claims from 2024-04-01 to 2024-10-01",
        "| alerted out of time | 4.8% |",
        "36 raw partitions, 2022-01 to 2024-12",
        "| event month: 2024-04 |",
        "Columns with personal data: driver_age",
    ):
        assert words in card, words


def test_every_column_that_the_model_learns_from_is_an_input() -> None:
    whole = Manifest.model_validate_json(EXAMPLE.read_text())
    numeric = [*whole.contract["numeric"]]
    assert whole.contract["amount"]
    assert f"- Numeric columns: {', '.join(['amount', *numeric])}.\n" in model_card(whole)
    alone = whole.contract | {"amount": "claimed", "numeric": []}
    card = model_card(whole.model_copy(update={"contract": alone}))
    assert "- Numeric columns: amount.\n" in card
    without = whole.contract | {"amount": None}
    card = model_card(whole.model_copy(update={"contract": without}))
    assert f"- Numeric columns: {', '.join(numeric)}.\n" in card


def test_every_figure_is_the_manifests() -> None:
    found = json.loads(EXAMPLE.read_text())
    card = model_card(Manifest.model_validate(found))
    for metric in found["metrics"].values():
        assert f"| {metric['value']:.3f} | {metric['low']:.3f} to {metric['high']:.3f} |" in card


def test_what_data_says_is_no_markup() -> None:
    evil = "<script>alert(1)</script> | `x`"
    card = model_card(manifest("20240301-0123456789ab", candidate={"name": evil, "family": "mlp"}))
    assert "<script>" not in card.replace("\\<script>", "")
    [row] = [line for line in card.splitlines() if "alert(1)" in line]
    assert row.replace("\\|", "").count("|") == 3
