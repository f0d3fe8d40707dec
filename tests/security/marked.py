"""Every way into the project, gone once, with each secret of the environment a mark."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from pydantic import SecretStr

from fraud_mlops.contract import SyntheticSource
from fraud_mlops.settings import Settings
from fraud_mlops.synthetic.generator import generate

ROOT = Path(__file__).parents[2]
for place in ("api", "databricks", "notifications", "warehouse"):
    sys.path.append(str(ROOT / "tests" / place))
sys.path.append(str(ROOT / "benchmarks"))

from api_kit import keys, process_server  # noqa: E402
from dagster_servers import dagster  # noqa: E402
from databricks_kit import Repository, driver_python  # noqa: E402
from warehouse_kit import fakesnow_server, run_schema, snowflake_options, variables  # noqa: E402
from webhook import webhook  # noqa: E402
from workspace_server import LocalWorkspace, local_workspace  # noqa: E402

OTHERS = (
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "DATABRICKS_TOKEN",
    "DAGSTER_WEBSERVER_TOKEN", "METAFLOW_SERVICE_AUTH_KEY", "GITHUB_TOKEN", "PGPASSWORD",
    "OTEL_EXPORTER_OTLP_HEADERS",
)  # fmt: skip
"""Secrets that are no settings of the project's own, and stand beside them."""

DATASET = "marked_claims"
MARKUP = "<img src=x onerror=alert(1)>"
"""In a category's values and in a column's name: what a claimant might write."""

CONTRACT: dict[str, Any] = {
    "name": DATASET,
    "claim_id": "claim_id",
    "event_time": {"column": "event_time"},
    "label": {"column": "label", "time_column": "label_time", "delay": "30d"},
    "amount": "amount",
    "entities": {"provider": "provider"},
    "numeric": ["driver_age", MARKUP],
    "categorical": ["peril", "region"],
    "windows": [30],
    "split": {
        "train": {"start": "2024-01-01", "end": "2024-06-01"},
        "validation": {"start": "2024-07-01", "end": "2024-08-01"},
        "oot": {"start": "2024-09-01", "end": "2024-11-01"},
    },
}
JSON = {"Content-Type": "application/json"}
LIGHT = "- {name: line, family: logistic, seed: 2, params: {epochs: 3}}\n"
LOCATION = """\
from fraud_assets.definitions import defs
"""


def secret_settings() -> list[str]:
    """Of the project's own settings those that are secret, by their type."""
    return [
        str(one.alias)
        for one in Settings.model_fields.values()
        if SecretStr in (one.annotation, *get_args(one.annotation))
    ]


def mark(name: str) -> str:
    return f"m4rk{hashlib.sha256(name.encode()).hexdigest()[:24]}"


MARKS = {name: mark(name) for name in (*secret_settings(), *OTHERS, "a wrong key", "the scope's")}


@dataclass
class Marked:
    """marks: by the name of the secret. told: bodies that notifications sent."""

    folder: Path
    environment: dict[str, str]
    marks: dict[str, str] = field(default_factory=lambda: dict(MARKS))
    codes: dict[str, int] = field(default_factory=dict)
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
        drivers = folder.parent / f"{folder.name}-drivers"
        workspace = stack.enter_context(local_workspace(folder, driver_python(drivers)))
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
        given = kept | own | variables(snow) | MARKS | {"FRAUD_NOTIFY_URLS": address}
        scene = Marked(folder, {n: v for n, v in given.items() if " " not in n})
        scene.place("home")
        run_schema(snow)
        claims(scene)
        with ThreadPoolExecutor(2) as pool:
            done = [pool.submit(by_databricks, scene, workspace), pool.submit(by_dagster, scene)]
            for one in done:
                one.result()
        by_api(scene)
        by_hand(scene)
        scene.told = hook.received
        yield scene


def claims(scene: Marked) -> None:
    source = SyntheticSource(
        kind="synthetic", claims=2400, seed=7, start="2024-01-01", end="2025-01-01", fraud_rate=0.1
    )
    table = pa.Table.from_batches([chunk.claims for chunk in generate(source)])
    first = pc.equal(table["region"], pc.min(table["region"]))
    at = table.column_names.index("region")
    table = table.set_column(at, "region", pc.if_else(first, MARKUP, table["region"]))
    table = table.append_column(MARKUP, table["report_delay_hours"])
    pq.write_table(table, scene.place("landing") / "claims.parquet")


def contract(scene: Marked, path: Path, source: str) -> Path:
    path.write_text(yaml.safe_dump(CONTRACT | {"source": {"uri": str(scene.folder / source)}}))
    return path


def by_databricks(scene: Marked, workspace: LocalWorkspace) -> None:
    """The whole flow; secrets of a scope are variables of the driver."""
    workspace.tokens.add(MARKS["DATABRICKS_TOKEN"])
    workspace.secrets["fraud"] = {"snowflake-password": MARKS["the scope's"]}
    repository = Repository(scene.place("repository"))
    repository.copy("flows", "src", "datasets", "scripts/databricks_entry.py", "pyproject.toml")
    (repository.root / "light.yaml").write_text(LIGHT)
    contract(scene, repository.root / "claims.yaml", "landing/claims.parquet")
    repository.git("init", "-q", "-b", "main")
    repository.commit("as it lies here")
    scene.python(
        "databricks",
        ROOT / "scripts" / "run_databricks_job.py",
        *("--dataset", "claims.yaml", "--candidates-file", "light.yaml"),
        *("--output-uri", scene.lake, "--max-workers", "2"),
        DATABRICKS_HOST=workspace.url,
        DATABRICKS_SECRET_SCOPE="fraud",  # noqa: S106 - a name
        **repository.environment(),
    )
    bodies = [*workspace.bodies, *(run.last.logs() for run in workspace.jobs.runs.values())]
    (scene.place("output") / "workspace.log").write_text("\n".join(bodies))


def by_dagster(scene: Marked) -> None:
    """A job by the launcher that fails, for there is no file, and is gone on with."""
    home, place = scene.place("dagster"), scene.place("code")
    path = contract(scene, place / "claims.yaml", "late/claims.parquet")
    (place / "location.py").write_text(LOCATION)
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
        late = scene.place("late") / "claims.parquet"
        late.write_bytes((scene.folder / "landing" / "claims.parquet").read_bytes())
        run_id = failed.partition("launched as ")[2].split()[0]
        scene.python("resume", *launch, "--from-failure", run_id, **reach)


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
            server.score({"amount": 900}, key=MARKS["a wrong key"]),
            server.score({"amount": key}, key=key),
            server.post("/v1/score", key=key, headers=JSON, data=b"{" + key.encode()),
            server.get("/v1/model", key=key),
            server.get("/metrics", key=key),
            server.get(f"/nowhere/{MARKS['a wrong key']}?token={key}", key=key),
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
    scene.python("doctor", *shell, "doctor", "--json")
    scene.python("wrong settings", *shell, "datasets", FRAUD_THREADS="many")


def read(scene: Marked, name: str) -> str:
    return (scene.folder / "output" / f"{name}.log").read_text()


def cards(scene: Marked) -> Mapping[Path, bytes]:
    return {path: path.read_bytes() for path in scene.folder.rglob("*.html")}


def parsed(text: str) -> Any:
    return json.loads(text)
