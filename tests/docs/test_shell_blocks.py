"""Lines of shell in the documentation are run: here, by a test that is named, or not, and why."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from click.testing import CliRunner
from code_blocks import Block, blocks
from exercised import ELSEWHERE, NOWHERE, ROOT, RUN_HERE, is_known, is_run_here, lines

from fraud_mlops.cli import main
from fraud_mlops.registry.pointers import promote
from fraud_mlops.settings import settings

sys.path.append(str(ROOT / "tests" / "api"))
sys.path.append(str(ROOT / "tests" / "warehouse"))
from api_kit import DATASET, Published, free_port, make_published
from warehouse_kit import Lake, kpis

SHELL = [block for block in blocks("sh") if "test=" not in block.opened]
"""Without the runbook's, of which tests/deployment sees to it that each is run."""

DOCUMENTED = re.compile(r"(?<=--dataset )(synthetic_claims|my_claims|D)(?![\w.])")
BEFORE = (
    "python -m api.keys add --file before.json --id desk --scopes score",
    "FRAUD_API_KEYS_FILE=before.json uvicorn api.app:app --port 8080",
)
CLAIMS = "claim_no,reported_at,fraud_found,claimed_eur,insured_id,workshop_id\n"


def test_every_line_is_run_or_says_why_not() -> None:
    unknown = [f"{block}: {line}" for block in SHELL for line in lines(block) if not is_known(line)]
    assert unknown == []


def test_every_rule_is_needed_and_every_test_that_it_names_is_there() -> None:
    typed = [line for block in SHELL for line in lines(block)]
    for rule in (*RUN_HERE, *ELSEWHERE, *NOWHERE):
        assert any(re.match(rule, line) for line in typed), rule
    for named in ELSEWHERE.values():
        file, _, name = named.partition("::")
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), named


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Published]]:
    """A reader's folder: the checkout, and a lakehouse with two models after a first run."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("scripts", "datasets", "infra"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "lakehouse").mkdir()
    published = make_published(folder / "lakehouse")
    champion, second = (published.versions[name] for name in ("first", "second"))
    promote(published.models, DATASET, second, expected=champion, by="ann", reason="better")
    Lake(folder / "lakehouse").put("2024-04", kpis(100, 10, 6, 4))
    (folder / "landing").mkdir()
    rows = [
        f"C{n},2024-{n % 12 + 1:02}-11T08:00:00Z,{'N' if n % 7 else 'Y'},{n},P{n},W1"
        for n in range(400)
    ]
    (folder / "landing" / "claims.csv").write_text(CLAIMS + "\n".join(rows) + "\n")
    batch = pa.table({"claim_id": ["CLM-1", "CLM-2"], "amount": [4200.0, 90.0]})
    (folder / "claims.jsonl").write_text("".join(json.dumps(c) + "\n" for c in batch.to_pylist()))
    pq.write_table(batch, folder / "claims.parquet")
    with pa.ipc.new_stream(str(folder / "claims.arrows"), batch.schema) as stream:
        stream.write_table(batch)
    contract = next(b.text for b in blocks("yaml") if b.text.startswith("name: my_claims"))
    (folder / "my_claims.yaml").write_text(contract)
    with pytest.MonkeyPatch.context() as shell:
        for name in [n for n in os.environ if n.startswith(("FRAUD_", "LAKEHOUSE", "SNOWFLAKE"))]:
            shell.delenv(name)
        shell.setenv("FRAUD_DATASETS", str(published.contract))
        shell.setenv("FRAUD_API_DATASET", DATASET)
        shell.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        shell.chdir(folder)
        settings.cache_clear()
        yield folder, published
    settings.cache_clear()


def of(*programs: str) -> list[Block]:
    """Blocks with a line that begins so and is run here."""
    return [b for b in SHELL if any(is_run_here(x) and x.startswith(programs) for x in lines(b))]


@pytest.mark.parametrize("block", of("fraud-mlops"), ids=str)
def test_commands_of_fraud_mlops(block: Block, checkout: tuple[Path, Published]) -> None:
    person = checkout[1].claim()["policyholder"]
    for line in filter(is_run_here, lines(block)):
        if line.startswith("fraud-mlops"):
            words = shlex.split(DOCUMENTED.sub(DATASET, line))[1:]
            done = CliRunner().invoke(main, words, input=f"{person}\n")
            assert done.exit_code == 0, f"{line}\n{done.output}"
            assert done.stdout.strip()


@pytest.fixture(scope="module")
def synced(checkout: tuple[Path, Published]) -> None:
    """There is a warehouse, as after a run of Dagster's."""
    bash("python scripts/sync_metrics_to_snowflake.py")


@pytest.mark.parametrize("block", of("python scripts", ".venv/bin/python"), ids=str)
def test_scripts(block: Block, synced: None) -> None:
    for line in filter(is_run_here, lines(block)):
        if not line.startswith("export"):
            bash(line)


@pytest.mark.parametrize("block", of("export"), ids=str)
def test_variables_are_set_as_a_shell_takes_them(block: Block) -> None:
    for line in filter(is_run_here, lines(block)):
        if line.startswith("export"):
            filled = re.sub(r"<[a-z]+>", "x", line)
            subprocess.run(["bash", "-euc", filled], check=True, timeout=10)


@pytest.mark.parametrize("block", of("curl"), ids=str)
def test_the_api_answers_what_a_page_sends(block: Block, checkout: tuple[Path, Published]) -> None:
    """Server and client in two terminals; a key that was shown is what the client has. Where a page
    starts none, the server is one that was started before."""
    port, key = str(free_port()), ""
    typed = list(lines(block))
    if not any("uvicorn" in line for line in typed):
        typed = [*BEFORE, *typed]
    server = next(line for line in typed if "uvicorn" in line)
    for line in typed:
        if line.startswith("python -m api.keys"):
            key = bash(line).strip()
    with running(server.replace("8080", port), f"http://127.0.0.1:{port}"):
        for line in typed:
            if line.startswith("curl"):
                asked = line.replace("8080", port).replace("curl", "curl -sS --fail-with-body", 1)
                told = bash(asked, KEY=key)
                if written := re.search(r"-o (\S+\.arrows) ", line):
                    with pa.ipc.open_stream(Path(written[1]).read_bytes()) as answers:
                        assert None not in answers.read_all()["score"].to_pylist()
                else:
                    assert '"score":' in told


def bash(line: str, **variables: str) -> str:
    done = subprocess.run(
        ["bash", "-c", line],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def running(line: str, url: str) -> Iterator[None]:
    log = Path("api.log")
    with log.open("wb") as told:
        server = subprocess.Popen(["bash", "-c", f"exec env {line}"], stdout=told, stderr=told)
        try:
            deadline = time.monotonic() + 60
            while not is_ready(url):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield
        finally:
            server.terminate()
            server.wait()


def is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=5).ok
    except requests.RequestException:
        return False
