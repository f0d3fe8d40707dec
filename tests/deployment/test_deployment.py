"""Production as docker compose describes it, run: who comes in, and what goes through it."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from api_kit import DATASET
from deployment_kit import ROOT, Production, procedure
from pyarrow import dataset

from fraud_mlops.registry.pointers import promote

pytestmark = pytest.mark.flow
NAMES = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
CONTRACT = "/data/lakehouse/served_claims.yaml"
ADD_KEY = "docker compose run --rm admin python -m api.keys add --file /keys/keys.json --id"
PSQL = "docker compose exec -T postgres psql -U postgres dagster"
TERMINATE = """mutation($run: String!) { terminateRun(runId: $run) { __typename } }"""


def test_who_has_not_signed_in_sees_nothing(production: Production) -> None:
    for name in ("dagster", "viewer"):
        answer = requests.post(
            f"{production.addresses[name]}/graphql",
            json={"query": NAMES},
            verify=str(production.certificate),
            timeout=30,
        )
        assert answer.status_code == 401
        assert "nodes" not in answer.text
        forged = requests.get(
            f"{production.addresses[name]}/server_info",
            headers={"Authorization": "Bearer not.a.token"},
            verify=str(production.certificate),
            timeout=30,
        )
        assert forged.status_code == 401


def test_people_sign_in_and_go_as_far_as_their_group(production: Production) -> None:
    operator = production.browser(email="ann@example.org", groups=["fraud-operators"])
    viewer = production.browser(email="bob@example.org", groups=["fraud-viewers"])
    page = viewer.get(f"{production.addresses['viewer']}/runs")
    assert page.status_code == 200
    assert "__NEXT_DATA__" in page.text
    assert viewer.get(f"{production.addresses['dagster']}/runs").status_code == 403
    production.issuer.who.update(email="ann@example.org", groups=["fraud-operators"])
    assert "__NEXT_DATA__" in operator.get(f"{production.addresses['dagster']}/").text
    assert "__NEXT_DATA__" in operator.get(f"{production.addresses['viewer']}/").text
    stranger = production.browser(email="eve@example.org", groups=["payroll"])
    for name in ("dagster", "viewer"):
        assert stranger.get(f"{production.addresses[name]}/").status_code == 403


def test_a_token_for_somebody_else_is_no_token(production: Production) -> None:
    token = production.issuer.token("payroll", groups=["fraud-operators"], email="ci")
    answer = requests.get(
        f"{production.addresses['dagster']}/server_info",
        headers={"Authorization": f"Bearer {token}"},
        verify=str(production.certificate),
        timeout=30,
    )
    assert answer.status_code == 403


def test_viewers_look_and_change_nothing(production: Production) -> None:
    found = production.ask("viewer", NAMES, group="fraud-viewers").json()
    assert found["data"]["repositoriesOrError"]["nodes"]
    refused = production.ask("viewer", TERMINATE, group="fraud-viewers", run="none").json()
    assert refused["data"]["terminateRun"]["__typename"] == "UnauthorizedError"
    allowed = production.ask("dagster", TERMINATE, group="fraud-operators", run="none").json()
    assert allowed["data"]["terminateRun"]["__typename"] == "RunNotFoundError"


@pytest.fixture(scope="module")
def replayed(production: Production) -> str:
    """What an operator is told while a month is made again; its claims, scores and figures."""
    return production.shell(procedure("replay"), PARTITION="2024-10")


def test_a_run_goes_from_the_gateway_to_the_warehouse(
    production: Production, replayed: str
) -> None:
    """As CI launches it, with a token; its worker is a process of the code location's container."""
    token = production.issuer.token(groups=["fraud-operators"], email="ci")
    told = production.shell(
        "python -m fraud_assets.launch warehouse_sync_job --partition 2024-10",
        DAGSTER_WEBSERVER_URL=production.addresses["dagster"],
        DAGSTER_WEBSERVER_TOKEN=token,
        REQUESTS_CA_BUNDLE=str(production.certificate),
        SSL_CERT_FILE=str(production.certificate),
        PYTHONPATH=str(ROOT),
    )
    assert "warehouse_sync_job succeeded: 2 steps, 1 materialization, 1 check" in told
    kept = production.shell(
        f"{PSQL} -Atc \"select status from runs where pipeline_name = 'warehouse_sync_job'\""
    )
    assert kept.split() == ["SUCCESS"]


def test_the_api_scores_behind_the_gateway_for_those_with_a_key(production: Production) -> None:
    url = f"{production.addresses['api']}/v1/score"
    given = {"json": production.published.claim(), "verify": str(production.certificate)}
    assert requests.post(url, timeout=30, **given).status_code == 401
    key = {"Authorization": f"Bearer {production.key}"}
    answer = requests.post(url, timeout=30, headers=key, **given)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_version"] == production.published.versions["first"]


def test_no_secret_stands_in_a_command_a_log_or_dagsters_settings(production: Production) -> None:
    info = production.ask("dagster", "{ instance { info } }", group="fraud-operators").text
    secrets = [f.read_text() for f in production.secrets.iterdir() if f.is_file()]
    folder = production.composed.folder
    texts = {path.name: path.read_text() for path in folder.glob("*.log")} | {"info": info}
    for name in production.composed.file["services"]:
        if process := production.composed.process(name):
            texts[f"{name}'s command"] = json.dumps(process.cmdline())
    for secret in filter(None, secrets):
        assert not [name for name, text in texts.items() if secret in text]


# -- docs/runbook.md: its own lines --------------------------------------------------------------


def score(production: Production, key: str = "") -> requests.Response:
    return requests.post(
        f"{production.addresses['api']}/v1/score",
        json=production.published.claim(),
        headers={"Authorization": f"Bearer {key or production.key}"},
        verify=str(production.certificate),
        timeout=30,
    )


def until(ready: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_a_key_of_the_api_is_replaced_without_a_restart(production: Production) -> None:
    old = production.shell(f"{ADD_KEY} old 2>/dev/null").strip()
    until(lambda: score(production, old).status_code == 200)
    new = production.shell(procedure("rotate-key") + "\n", OLD_KEY="old").splitlines()
    key = next(line for line in new if line.startswith("fk_"))
    until(lambda: score(production, old).status_code == 401)
    assert score(production, key).status_code == 200


def promote_second(production: Production) -> str:
    """The version that was champion before."""
    first, second = (production.published.versions[name] for name in ("first", "second"))
    models = production.published.models
    promote(models, DATASET, second, expected=first, by="ann", reason="a better one")
    return first


def test_a_model_is_rolled_back_while_the_api_serves(production: Production) -> None:
    second = production.published.versions["second"]
    champion = promote_second(production)
    until(lambda: score(production).json().get("model_version") == second)
    production.shell(procedure("rollback"), DATASET=CONTRACT)
    until(lambda: score(production).json().get("model_version") == champion)


def test_a_day_is_replayed(replayed: str) -> None:
    assert [f"{job}_job succeeded" in replayed for job in ("ingest", "scoring")] == [True, True]


def test_a_policyholder_is_erased(production: Production, tmp_path: Path) -> None:
    person = production.published.claim()["policyholder"]
    (tmp_path / "who").write_text(f"{person}\n")
    assert person in policyholders(production)
    told = production.shell(procedure("erase"), DATASET=CONTRACT, WHO=str(tmp_path / "who"))
    assert person not in policyholders(production)
    assert person not in told


def policyholders(production: Production) -> set[str]:
    raw = dataset.dataset(f"{production.published.root}/raw/{DATASET}", format="parquet")
    return set(raw.to_table(columns=["policyholder"])["policyholder"].to_pylist())


def test_what_was_lost_is_restored_and_the_password_changed_meanwhile(
    production: Production, tmp_path: Path
) -> None:
    """Backed up, password rotated, upgraded, destroyed, restored."""
    backup = {"BACKUP": str(tmp_path / "backup")}
    production.shell(procedure("backup"), **backup)
    before = runs(production)
    old = (production.secrets / "dagster_postgres_password").read_text()
    production.shell(procedure("rotate-database"), SECRETS=str(production.secrets))
    assert (production.secrets / "dagster_postgres_password").read_text() != old
    production.shell(procedure("upgrade"))
    until(lambda: "nodes" in production.ask("dagster", NAMES, group="fraud-operators").text)
    production.shell(f"{PSQL} -c 'delete from runs'")
    for lost in (production.published.models, production.composed.folder / "volumes" / "keys"):
        shutil.rmtree(lost)
    told = production.shell(procedure("restore"), DATASET=CONTRACT, **backup)
    assert "partitions of served_claims are whole" in told
    assert runs(production) == before > 0
    until(lambda: score(production).status_code == 200)


def runs(production: Production) -> int:
    return int(production.shell(f"{PSQL} -Atc 'select count(*) from runs'"))


def test_every_procedure_of_the_runbook_is_run() -> None:
    """By name: what has none, or is called by no test of this folder, is missed here."""
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    opened = [line for line in re.findall(r"^```(.*)$", text, re.MULTILINE)[::2] if line]
    named = [re.fullmatch(r"sh test=([\w-]+)", line) for line in opened]
    assert all(named), opened
    tests = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    called = re.findall(r'procedure\("([\w-]+)"\)', tests)
    assert {match[1] for match in named if match} == set(called)
