"""The forward pass of a champion in each runtime that could serve it, and how the API chose.

    python benchmarks/serving_runtimes.py --lake ./lakehouse
    pip install onnxruntime onnx onnxscript     for that row; a C++ compiler for AOTInductor's

One thread. A claim's logit in each is compared with eager torch's. `network in numpy` is what
answers single claims, `torch, eager` what scores batches.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from serving import median
from serving_champion import GENERATED, Champion, trained
from torch import Tensor

from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.models.networks import FraudNetwork
from fraud_mlops.serving.network import FastNetwork, mean_logits

ROWS = (1, 32, 512)
Forward = Callable[[Matrix], np.ndarray]


class _Scores(torch.nn.Module):
    """One logit a claim, as `FraudNetwork.score`: what is exported."""

    def __init__(self, network: FraudNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, numeric: Tensor, categories: Tensor) -> Tensor:
        logits: Tensor = self.network(numeric, categories)
        return logits.mean(1)


def eager(model: FraudModel, _: Matrix, __: Path) -> Forward:
    return model.matrix_logits


def in_numpy(model: FraudModel, _: Matrix, __: Path) -> Forward:
    network = FastNetwork(model)
    return lambda matrix: mean_logits(network.passed(matrix))


def tensors(matrix: Matrix) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(matrix.numeric), torch.from_numpy(matrix.categories)


def exported(model: FraudModel, some: Matrix) -> torch.export.ExportedProgram:
    """For exactly so many claims, which is the best case: the network takes another way for few."""
    return torch.export.export(_Scores(model.network), tensors(some))


def aot_inductor(model: FraudModel, some: Matrix, folder: Path) -> Forward:
    if shutil.which("g++") is None:
        raise ImportError("no g++")
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    path = str(folder / "network.pt2")
    aoti_compile_and_package(exported(model, some), package_path=path)
    compiled = aoti_load_package(path)
    return lambda matrix: np.asarray(compiled(*tensors(matrix)).numpy())


def onnx_runtime(model: FraudModel, some: Matrix, folder: Path) -> Forward:
    import onnxruntime  # type: ignore[import-not-found]

    path = str(folder / "network.onnx")
    program = torch.onnx.export(
        exported(model, some), input_names=["numeric", "categories"], dynamo=True
    )
    assert program is not None
    program.save(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def forward(matrix: Matrix) -> np.ndarray:
        given = dict(zip(names, (matrix.numeric, matrix.categories), strict=False))
        return np.asarray(session.run(None, given)[0])

    return forward


RUNTIMES: dict[str, Callable[[FraudModel, Matrix, Path], Forward]] = {
    "torch, eager": eager,
    "network in numpy": in_numpy,
    "torch.export, AOTInductor": aot_inductor,
    "ONNX Runtime": onnx_runtime,
}


def inputs_of(lake: Path, model: FraudModel, rows: int) -> Matrix:
    """Real claims as the network takes them, again and again where there are fewer; histories that
    a claim does not bring are missing."""
    import pyarrow as pa

    claims = Champion(lake, GENERATED).raw_claims()
    for name in model.features:
        if name not in claims.column_names:
            empty = pa.nulls(claims.num_rows, pa.float64())
            claims = claims.append_column(name, empty)
    matrix = model.preprocessor.transform(claims)
    places = np.arange(rows) % claims.num_rows
    return Matrix(matrix.numeric[places], matrix.categories[places], matrix.beside)


def first(matrix: Matrix, rows: int) -> Matrix:
    return Matrix(matrix.numeric[:rows], matrix.categories[:rows], matrix.beside)


def microseconds(forward: Forward, matrix: Matrix) -> float:
    return 1e6 * median(lambda: forward(matrix), 200)


def measure(lake: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    model = Champion(lake, GENERATED).scorer().model
    inputs = inputs_of(lake, model, max(ROWS))
    truth = model.matrix_logits(inputs)
    heads = ("", *(f"{rows:,} claims" for rows in ROWS), "ready after", "furthest logit")
    print("| " + " | ".join(heads) + " |\n|---|" + "---:|" * (len(heads) - 1))
    for name, make in RUNTIMES.items():
        cells, gap, ready = [], 0.0, 0.0
        for n in ROWS:
            some = first(inputs, n)
            began = time.perf_counter()
            try:
                forward = make(model, some, folder)
            except ImportError as missing:
                cells = [f"not measured: {missing}"]
                break
            ready = max(ready, time.perf_counter() - began)
            cells.append(f"{microseconds(forward, some):,.0f} us")
            gap = max(gap, float(np.abs(forward(some) - truth[:n]).max()))
        print("| " + " | ".join((name, *cells, f"{ready:.1f} s", f"{gap:.1e}")) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lake", type=Path)
    parser.add_argument("--claims", type=int, default=20_000)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of exporters, which is no part of what is measured
    with tempfile.TemporaryDirectory(prefix="bench-runtimes-") as folder:
        lake = given.lake or trained(Path(folder), given.claims)
        print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        measure(lake.absolute(), Path(folder))


if __name__ == "__main__":
    main()
