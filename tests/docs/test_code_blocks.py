"""All code in the documentation is run, or checked so far as it can be without a cloud."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from code_blocks import PAGES, ROOT, Block, blocks, commands, mistake

from fraud_mlops import catalog

LANGUAGES = {"sh", "python", "yaml", "json", "sql", "text"}
PYTHON = sorted({block.page for block in blocks("python")})


def test_every_block_has_a_language_that_is_checked() -> None:
    assert len(blocks()) > 40
    assert {str(block) for block in blocks() if block.language not in LANGUAGES} == set()
    for page in PAGES:
        assert page.read_text(encoding="utf-8").count("```") % 2 == 0, page


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_commands_exist_with_the_options_that_are_shown(block: Block) -> None:
    typed = commands(block.text)
    assert typed
    assert [f"{' '.join(words)}: {m}" for words in typed if (m := mistake(words))] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fraud-mlops scores --dataset d --lowest 3", "--lowest"),
        ("fraud-mlops divine", "there is no command divine"),
        ("FRAUD_THREADS=2 make everything", "make knows no everything"),
        ("pip install -r requirements.text", "requirements.text is not there"),
        ("pip install 'fraud-mlops[gcp]'", "no extra gcp"),
        ("cd x && python flows/scoring_flow.py run --size 3", "no --size"),
        ("python scripts/no_such.py", "is not there"),
        ("python -m fraud_assets.launch job --fast", "no --fast"),
        ("docker build -f infra/none/Dockerfile .", "infra/none/Dockerfile is not there"),
        ("fraud-mlop doctor", "no command that is known"),
    ],
)
def test_what_does_not_exist_is_noticed(text: str, words: str) -> None:
    found = [told for one in commands(text) if (told := mistake(one))]
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.name)
def test_python_runs(page: Path, tmp_path: Path) -> None:
    """Blocks of a page follow one another."""
    program = tmp_path / f"{page.stem.replace('-', '_')}_of_the_docs.py"
    program.write_text("\n\n".join(b.text for b in blocks("python") if b.page == page))
    done = subprocess.run(
        [sys.executable, program],
        cwd=ROOT,
        env=os.environ | {"METAFLOW_USER": "reader"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_what_it_says(block: Block, tmp_path: Path) -> None:
    read = yaml.safe_load(block.text)
    if "event_time" in read:  # a contract
        file = tmp_path / "contract.yaml"
        file.write_text(block.text)
        assert catalog.load(str(file)).name == read["name"]
    elif "ops" in read:  # run configuration
        for name, op in read["ops"].items():
            assert re.fullmatch(r"[a-z_]+__(ingest|train|score|sync)", name), name
            assert set(op) == {"config"}
    else:
        assert isinstance(read, dict)


@pytest.mark.parametrize("block", [*blocks("json"), *blocks("sql")], ids=str)
def test_data_and_sql_are_well_formed(block: Block) -> None:
    if block.language == "json":
        json.loads(block.text)
        return
    import sqlglot

    assert all(sqlglot.parse(block.text, dialect="snowflake"))


def named_tests() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for path in re.findall(r"`(tests/[\w/.]+)`", page.read_text(encoding="utf-8")):
            yield page.name, path


@pytest.mark.parametrize(("page", "path"), sorted(set(named_tests())))
def test_tests_that_a_page_names_are_there(page: str, path: str) -> None:
    assert (ROOT / path).exists()
