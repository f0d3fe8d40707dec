"""Every way into the project but a flow on Databricks, with each secret of the environment a mark.

That one is a part of tests/databricks/test_fraud_flow_on_databricks.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
for place in ("api", "dagster_metaflow", "notifications", "warehouse"):
    sys.path.append(str(ROOT / "tests" / place))
sys.path.append(str(ROOT / "benchmarks"))

from api_kit import DATASET, keys, process_server  # noqa: E402
from dagster_servers import dagster  # noqa: E402
from marks import MARKS, mark, write_claims, write_contract  # noqa: E402
from toy_kit import wait_for  # noqa: E402
from warehouse_kit import Lake, fakesnow_server, run_schema, snowflake_options, variables  # noqa: E402
from webhook import Webhook, webhook  # noqa: E402

WRONG_KEY = mark("a wrong key")
JSON = {"Content-Type": "application/json"}


@dataclass
class Marked:
    """marks: by the name of the secret. told: bodies that notifications sent."""

    folder: Path
    environment: dict[str, str]
    marks: dict[str, str] = field(default_factory=lambda: MARKS | {"a wrong key": WRONG_KEY})
    codes: dict[str, int] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)

    def run(self, name: str, *command: Any, **more: str) -> str:
        """What it prints is left as a file, too."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.place("work"),
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        self.codes[name] = done.returncode
        self.commands.append([str(part) for part in command])
        (self.place("output") / f"{name}.log").write_text(done.stdout)
        return done.stdout

    def python(self, name: str, *arguments: Any, **more: str) -> str:
        return self.run(name, sys.executable, *arguments, **more)

    def place(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def lake(self) -> Path:
        return self.place("lake")


@contextmanager
def everything_marked(folder: Path) -> Iterator[Marked]:
    with ExitStack() as stack:
        hook = stack.enter_context(webhook())
        snow = snowflake_options(stack.enter_context(fakesnow_server()))
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("DAGSTER_", "BUILD_"))}
        address = f"json://user:{MARKS['FRAUD_NOTIFY_URLS']}@127.0.0.1:{hook.port}/room"
        own = {
            "HOME": str(folder / "home"),
            "METAFLOW_USER": "marked",
            "LAKEHOUSE_URI": str(folder / "lake"),
            "FRAUD_NOTIFY_STATE": str(folder / "told.json"),
            "AWS_ACCESS_KEY_ID": "AKIDNOTSECRET",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        headers = json.dumps({"x-api-key": MARKS["METAFLOW_SERVICE_HEADERS"]})
        formed = {"FRAUD_NOTIFY_URLS": address, "METAFLOW_SERVICE_HEADERS": headers}
        given = kept | own | variables(snow) | MARKS | formed
        scene = Marked(folder, given)
        scene.place("home")
        with ThreadPoolExecutor(2) as pool:
            runs = pool.submit(by_dagster, scene, hook)
            run_schema(snow)
            publish(scene)
            Lake(scene.lake).fill()
            by_api(scene)
            by_hand(scene)
            runs.result()
        scene.told = hook.received
        yield scene


def by_dagster(scene: Marked, hook: Webhook) -> None:
    """A job by the launcher that fails, for there is no file, is told, and is gone on with."""
    home, place = scene.place("dagster"), scene.place("code")
    late = scene.folder / "late" / "claims.parquet"
    path = write_contract(place / "claims.yaml", late)
    (place / "location.py").write_text("from fraud_assets.definitions import defs\n")
    own = {
        "FRAUD_DATASETS": str(path),
        "FRAUD_FIRST_PARTITION": "2024-01-01",
        "LAKEHOUSE_URI": str(scene.folder / "lake-of-dagster"),
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(scene.folder / "metaflow"),
    }
    environment = scene.environment | own
    with dagster(home, place / "location.py", environment=environment) as servers:
        launch = ("-m", "fraud_assets.launch")
        reach = {"DAGSTER_WEBSERVER_URL": servers.url, "PYTHONPATH": str(ROOT)}
        failed = scene.python(
            "launch", *launch, "ingest_job", "--partition-range", "2024-01", "2024-02", **reach
        )
        wait_for(lambda: "marked_claims__ingest" in str(hook.received), "the sensor to tell", 120)
        write_claims(late)
        run_id = failed.partition("launched as ")[2].split()[0]
        scene.python("resume", *launch, "--from-failure", run_id, **reach)
        record = (ROOT / "scripts" / "log_metaflow_run.py", "--run", run_id)
        scene.python("run log", *record, "--folder", scene.place("ci"), **reach)


def publish(scene: Marked) -> None:
    """Claims to a champion and scores, in a process that has the marks: bundles, cards, ledgers."""
    made = "import sys, pathlib, api_kit; api_kit.make_published(pathlib.Path(sys.argv[1]))"
    path = f"{ROOT / 'tests' / 'api'}{os.pathsep}{ROOT}"
    scene.python("publish", "-c", made, scene.lake, PYTHONPATH=path)


def by_api(scene: Marked) -> None:
    """A claim, and all that can be wrong with one."""
    file = scene.place("keys") / "keys.json"
    key = keys(file, "add", "--id", "desk", "--scopes", "score,admin")
    scene.marks["the API's key"] = key
    given = scene.environment | {
        "FRAUD_API_DATASET": DATASET,
        "FRAUD_API_KEYS_FILE": str(file),
        "FRAUD_API_LOG_FOLDER": str(scene.place("waiting")),
    }
    with process_server(scene.place("output"), given) as server:
        answers = [
            server.score({"amount": 900, "peril": "theft"}, key=key),
            server.score({"amount": 900}, key=WRONG_KEY),
            server.score({"amount": key}, key=key),
            server.post("/v1/score", key=key, headers=JSON, data=b"{" + key.encode()),
            server.get("/v1/model", key=key),
            server.get("/metrics", key=key),
            server.get(f"/nowhere/{WRONG_KEY}?token={key}", key=key),
        ]
    scene.codes |= {f"api {number}": one.status_code for number, one in enumerate(answers)}
    answered = [one.text for one in answers if "/nowhere/" not in one.url]
    (scene.place("output") / "answers.log").write_text("\n".join(answered))


def by_hand(scene: Marked) -> None:
    """What a person types in a shell with such an environment."""
    sync = ROOT / "scripts" / "sync_metrics_to_snowflake.py"
    scene.python("sync", sync)
    scene.python("sync set up by half", sync, SNOWFLAKE_USER="")
    reason = f"login refused: {MARKS['SNOWFLAKE_PASSWORD']}"
    notify = ROOT / "scripts" / "notify.py"
    scene.python("notify", notify, "--status", "failed", "--what", "sync", "--reason", reason)
    shell = ("-m", "fraud_mlops.cli")
    scene.python("summary", *shell, "summary", "--dataset", DATASET)
    scene.python("model card", *shell, "model-card", "--dataset", DATASET)
    scene.python("doctor", *shell, "doctor", "--json", "--timeout", "200")
    scene.python("wrong settings", *shell, "datasets", FRAUD_THREADS="many")
    contract = scene.lake / f"{DATASET}.yaml"
    scene.python("check", *shell, "check", contract)
    scene.python("metrics", *shell, "metrics", "--dataset", "motor")
    for name in ("quarantine", "scores", "predictions"):
        scene.python(name, *shell, name, "--dataset", DATASET)
    scene.python("models", *shell, "models", "list", "--dataset", DATASET)
    scene.python("lake", *shell, "lake", "list")
    scripts, of = ROOT / "scripts", ("--dataset", DATASET)
    scene.python("gate", scripts / "quality_gate.py", *of, "--folder", scene.place("ci"))
    registry, served = scene.lake / "models", scene.place("served")
    deploy = (scripts / "deploy_from_s3.sh", "--from", registry, "--to", served, *of)
    ours = f"{Path(sys.executable).parent}{os.pathsep}{scene.environment['PATH']}"
    scene.run("deploy", *deploy, PATH=ours)
    erase = ("erase", "--dataset", contract, "--entity", "provider", "--value", "P1", "--yes")
    scene.python("erase", *shell, *erase)


def read(scene: Marked, name: str) -> str:
    return (scene.folder / "output" / f"{name}.log").read_text()
