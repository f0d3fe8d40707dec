"""The scoring API under load, against what it could be at best. wrk sends the requests.

    python benchmarks/serving.py                          trains a small champion first
    python benchmarks/serving.py --lake ./lakehouse       one that is there [--dataset NAME]
    python benchmarks/serving.py --mlflow VENV            a virtual environment with mlflow, torch
    python benchmarks/serving.py --server granian         where that is installed

Compared with: an endpoint on the same server that reads the same claim with the same model of the
request and gives it back (`echo`), the network's forward pass alone, and `mlflow models serve` with
the same network. Claims of a batch are counted against the forward pass alone in batches of 512.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import requests
import torch
from serving_champion import GENERATED, ROOT, Champion, trained
from threadpoolctl import threadpool_limits

from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.models.heads import TabmHead
from fraud_mlops.serving.scorer import Scorer

HERE = Path(__file__).parent
CONNECTIONS = (1, 8, 32)
BATCH_ROWS = 100_000
SERVERS = {
    "uvicorn": ("uvicorn", "--no-access-log"),
    "granian": ("granian", "--interface", "asgi", "--no-access-log"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lake", type=Path)
    parser.add_argument("--dataset", default=GENERATED, help="of --lake")
    parser.add_argument("--claims", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--mlflow", type=Path, help="a virtual environment with mlflow and torch")
    parser.add_argument("--server", choices=SERVERS, default="uvicorn")
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as folder:
        lake = given.lake or trained(Path(folder), given.claims)
        print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        measure(Champion(lake.absolute(), given.dataset), Path(folder), given)
        print(f"load of the machine after: {os.getloadavg()[0]:.1f}")


def measure(champion: Champion, folder: Path, given: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")  # as the API has it
    seconds, scorer, claim = given.seconds, champion.scorer(), champion.some_claim()
    print(f"champion {scorer.version}, {scorer.manifest.candidate.get('name')}")
    parts(scorer, claim)
    body = folder / "score.lua"
    body.write_text(lua(json.dumps(claim)))
    with server(champion, folder, given.server) as (url, process):
        print("| endpoint | connections | requests/s | p50 | p99 | CPU, us |")
        print("|---|---|---|---|---|---|")
        echo = under_load("echo", f"{url}/echo", body, seconds, process)
        for reasons in ("none", "all"):
            path = f"{url}/v1/score?reasons={reasons}"
            compared(echo, under_load(f"score, reasons={reasons}", path, body, seconds, process))
        batch(url, champion, scorer)
    if given.mlflow:
        of_mlflow(given.mlflow, scorer, folder, seconds)


def parts(scorer: Scorer, claim: dict[str, Any]) -> None:
    """Where a claim's time goes, without a server."""
    body = json.dumps(claim).encode()
    read = scorer.reader.read(body)
    inputs = scorer.prepare([read])
    scores = scorer.score(inputs)
    print("\n| part of one claim | microseconds, median |\n|---|---:|")
    for name, action in {
        "read and validate": lambda: scorer.reader.read(body),
        "features, histories looked up": lambda: scorer.prepare([read]),
        "forward pass in torch": lambda: scorer.model.matrix_logits(inputs.matrix),
        "forward pass and calibration, as served": lambda: scorer.score(inputs),
        "reasons": lambda: scorer.reasons(inputs, scores, [0]),
    }.items():
        print(f"| {name} | {1e6 * median(action):,.0f} |")
    told = "arithmetic of the forward pass at this core's best; reasons have as much"
    print(f"| {told} | {arithmetic(scorer):,.0f} |\n")


def arithmetic(scorer: Scorer) -> float:
    """Microseconds that a claim's multiplications would take at the speed of a large product."""
    large = np.ones((1024, 1024), dtype=np.float32)
    per_second = large.size * len(large) / median(lambda: large @ large, 20)
    heads = [member.head for member in scorer.model.network.parts]
    weights = [
        weight
        for head in heads
        for weight in (
            [w for w, _ in head.folded()] if isinstance(head, TabmHead) else head.parameters()
        )
    ]
    return sum(weight.numel() for weight in weights) / per_second * 1e6


def median(action: Callable[[], object], times: int = 500) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def under_load(
    name: str, url: str, script: Path, seconds: int, server: psutil.Process | None = None
) -> dict[int, float]:
    """Requests a second by number of connections; prints them with latencies, and with the CPU time
    that the server took for one, which tells more on a machine that others use too."""
    found = {}
    for connections in CONNECTIONS:
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
        before = cpu_seconds(server)
        told = subprocess.run(
            [*command, "-s", str(script), url], capture_output=True, text=True, check=True
        ).stdout
        spent = cpu_seconds(server) - before
        if "Non-2xx" in told:
            sys.exit(f"{url} refused requests:\n{told}")
        found[connections] = float(re.findall(r"Requests/sec:\s+([\d.]+)", told)[0])
        p50, p99 = (re.findall(rf"^\s+{p}%\s+(\S+)", told, re.MULTILINE)[0] for p in (50, 99))
        answered = int(re.findall(r"(\d+) requests in", told)[0])
        cpu = f"{1e6 * spent / answered:,.0f}" if server else ""
        print(f"| {name} | {connections} | {found[connections]:,.0f} | {p50} | {p99} | {cpu} |")
    return found


def cpu_seconds(server: psutil.Process | None) -> float:
    if server is None:
        return 0.0
    times = server.cpu_times()
    return float(times.user + times.system)


def compared(echo: dict[int, float], found: dict[int, float]) -> None:
    shares = ", ".join(f"{found[c] / echo[c]:.2f}" for c in CONNECTIONS)
    print(f"of echo at {', '.join(map(str, CONNECTIONS))} connections: {shares}")


def batch(url: str, champion: Champion, scorer: Scorer) -> None:
    table = champion.raw_claims()
    copies = -(-BATCH_ROWS // table.num_rows)
    many = pa.concat_tables([table] * copies).slice(0, BATCH_ROWS).combine_chunks()
    target = io.BytesIO()
    with pa.ipc.new_stream(target, many.schema) as writer:
        writer.write_table(many, max_chunksize=1 << 16)
    media = {"Content-Type": "application/vnd.apache.arrow.stream"}
    rates = []
    for _ in range(3):
        began = time.perf_counter()
        told = requests.post(
            f"{url}/v1/score/batch?reasons=none", data=target.getvalue(), headers=media, timeout=600
        )
        assert told.status_code == 200, told.text[:500]
        rates.append(BATCH_ROWS / (time.perf_counter() - began))
    inputs = scorer.prepare([scorer.reader.read(json.dumps(champion.some_claim()).encode())] * 512)
    copies = BATCH_ROWS // 512
    numeric = np.repeat(inputs.matrix.numeric, copies, axis=0)
    matrix = Matrix(numeric, np.repeat(inputs.matrix.categories, copies, axis=0))
    alone = len(matrix.numeric) / median(lambda: scorer.model.matrix_logits(matrix), 3)
    best = max(rates)
    print(
        f"\nbatch of {BATCH_ROWS:,} rows, Arrow in and out: {best:,.0f} rows/s; the forward pass "
        f"alone {alone:,.0f}; {best / alone:.2f} of it"
    )


def of_mlflow(venv: Path, scorer: Scorer, folder: Path, seconds: int) -> None:
    """`mlflow models serve` with the same network, on inputs that are preprocessed already."""
    network = scorer.model.network
    script = folder / "log_mlflow.py"
    script.write_text(MLFLOW)
    torch.save(network, folder / "network.pt")
    claims = scorer.prepare([scorer.reader.read(b"{}")])
    inputs = {
        "numeric": claims.matrix.numeric.tolist(),
        "categories": claims.matrix.categories.tolist(),
    }
    (folder / "inputs.json").write_text(json.dumps(inputs))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    python, model = venv / "bin" / "python", folder / "mlflow-model"
    subprocess.run([python, script, folder, model], env=environment, check=True)
    port = free_port()
    command = [venv / "bin" / "mlflow", "models", "serve", "-m", model, "-p", str(port)]
    path = f"{venv / 'bin'}:{os.environ['PATH']}"
    with running([*map(str, command), "--env-manager", "local"],
                 environment | {"PATH": path}, f"http://127.0.0.1:{port}/ping"):  # fmt: skip
        body = folder / "mlflow.lua"
        row = [*inputs["numeric"][0], *inputs["categories"][0]]
        body.write_text(lua(json.dumps({"inputs": [row]})))
        under_load("mlflow models serve", f"http://127.0.0.1:{port}/invocations", body, seconds)


MLFLOW = """
import json, sys
from pathlib import Path
import mlflow.pyfunc, numpy as np, torch

folder, target = Path(sys.argv[1]), sys.argv[2]

class Network(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.network = torch.load(context.artifacts["network"], weights_only=False)
        self.columns = self.network.spec.n_numeric

    def predict(self, context, model_input, params=None):
        values = np.asarray(model_input, dtype=np.float64)
        numeric = torch.from_numpy(values[:, : self.columns].astype(np.float32))
        categories = torch.from_numpy(values[:, self.columns :].astype(np.int64))
        with torch.inference_mode():
            return self.network.score(numeric, categories).numpy()

mlflow.pyfunc.save_model(
    target, python_model=Network(), artifacts={"network": str(folder / "network.pt")}
)
"""


def lua(body: str) -> str:
    """wrk's script of a POST; Lua's quotes of level one, for JSON ends in `]]` too."""
    head = 'wrk.method="POST"\nwrk.headers["Content-Type"]="application/json"\n'
    return f"{head}wrk.body=[=[{body}]=]\n"


@contextmanager
def server(champion: Champion, folder: Path, kind: str) -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE), *sys.path]),
        "LAKEHOUSE_URI": str(champion.lake),
        "FRAUD_API_DATASET": champion.dataset,
        "FRAUD_API_OPEN": "1",
        "FRAUD_API_RATE_LIMIT": "0",
        "FRAUD_API_LOG_FOLDER": str(folder / "waiting"),
    }
    command = [sys.executable, "-m", *SERVERS[kind], "serving_echo:app", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with running(command, environment, f"{url}/readyz") as process:
        yield url, process


@contextmanager
def running(
    command: list[str], environment: dict[str, str], ready: str
) -> Iterator[psutil.Process]:
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(240):
            assert process.poll() is None, command
            try:
                if requests.get(ready, timeout=2).status_code == 200:
                    break
            except requests.RequestException:
                pass
            time.sleep(0.5)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


if __name__ == "__main__":
    main()
