"""Contributions of the features to a score: what the fast method costs against Shapley values.

    python benchmarks/bench_reasons.py [--lake LAKE [--dataset NAME]] [--claims 200] [--orders 60]

Without a lakehouse, a champion of 20,000 generated claims is trained first. Half of the claims are
those that the champion scores highest in the newest out-of-time window, half are drawn from it.
Shapley values are sampled: `--orders` random orders of the features of each claim, each with its
reverse, in which a feature's own encoding takes the average claim's place. Integrated gradients
(Sundararajan, Taly & Yan, ICML 2017) average the gradient over points on the line from the average
claim. All are contributions to the same rise of the same logit; the foremost reasons are three.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from serving_champion import GENERATED, Champion, trained
from torch import Tensor

from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.models.networks import Member
from fraud_mlops.models.reasons import Explainer, feature_of_input, input_of_column

POINTS = (4, 16, 256)
TOP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lake", type=Path)
    parser.add_argument("--dataset", default=GENERATED, help="of --lake")
    parser.add_argument("--claims", type=int, default=200)
    parser.add_argument("--orders", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-reasons-") as folder:
        lake = given.lake or trained(Path(folder), 20_000)
        scorer = Champion(lake.absolute(), given.dataset).scorer()
        print(f"{scorer.version} of {given.dataset}, {given.claims} claims\n")
        windows = lake.glob(f"features/{given.dataset}/*/oot.parquet")
        file = max(windows, key=lambda path: path.stat().st_mtime)
        claims = some_claims(scorer.model, pq.read_table(file), given.claims)
        compare(scorer.model, scorer.model.preprocessor.transform(claims), given.orders)


def some_claims(model: FraudModel, table: pa.Table, count: int) -> pa.Table:
    foremost = np.argsort(-model.logits(table), kind="stable")[: count // 2]
    drawn = np.random.default_rng(0).choice(table.num_rows, count - count // 2, replace=False)
    return table.take(pa.array(np.concatenate([foremost, drawn])))


def compare(model: FraudModel, matrix: Matrix, orders: int) -> None:
    sides = sides_of(model, matrix)
    expected, again = (shapley(sides, orders, seed) for seed in (0, 1))
    print("| method | passes | same first | same foremost, in any order | of them | off by |")
    print("|---|---:|---:|---:|---:|---:|")
    told("Shapley, sampled once more", f"{2 * orders * (sides[0].features + 1):,}", again, expected)
    told("**DeepLIFT, as served**", "2", Explainer(model)(matrix), expected)
    for points in POINTS:
        name = f"integrated gradients, {points} points"
        told(name, f"{2 * points}", integrated(sides, points), expected)


def told(name: str, passes: str, found: np.ndarray, expected: np.ndarray) -> None:
    first = float((found.argmax(1) == expected.argmax(1)).mean())
    pairs = list(zip(foremost(found), foremost(expected), strict=True))
    same = float(np.mean([a == b for a, b in pairs]))
    shared = float(np.mean([len(a & b) / max(1, len(b)) for a, b in pairs]))
    off = np.median(np.abs(found - expected).sum(1) / np.abs(expected).sum(1))
    print(f"| {name} | {passes} | {first:.2f} | {same:.2f} | {shared:.2f} | {off:.3f} |")


def foremost(contributions: np.ndarray) -> list[set[int]]:
    order = np.argsort(-contributions, axis=1, kind="stable")[:, :TOP].tolist()
    return [{j for j in chosen if contributions[i, j] > 0} for i, chosen in enumerate(order)]


@dataclass(frozen=True)
class Side:
    """One member's view of n claims: encoded [n, d], the average claim's [1, d], and the feature of
    each of the d numbers."""

    member: Member
    encoded: Tensor
    average: Tensor
    owner: Tensor
    features: int


def sides_of(model: FraudModel, matrix: Matrix) -> list[Side]:
    network, owner = model.network, feature_of_input(model)
    inputs = torch.from_numpy(matrix.numeric), torch.from_numpy(matrix.categories)
    with torch.no_grad():
        return [
            Side(
                member,
                member.encoder(*inputs),
                member.encoder.average(network.numeric_mean, network.category_shares),
                torch.from_numpy(owner[input_of_column(member.encoder)]),
                len(model.features),
            )
            for member in network.parts
        ]


def shapley(sides: list[Side], orders: int, seed: int) -> np.ndarray:
    rng, side = np.random.default_rng(seed), sides[0]
    out = np.zeros((len(side.encoded), side.features))
    for row in range(len(out)):
        drawn = list(both_ways(rng, side.features, orders))
        places = torch.from_numpy(np.argsort(drawn, axis=1))
        # Of each order the claim's own features at every length of its beginning.
        own = places[:, None] < torch.arange(side.features + 1)[None, :, None]
        for each in sides:
            mixed = torch.where(own[..., each.owner], each.encoded[row], each.average)
            with torch.no_grad():
                logits = each.member.head(mixed.flatten(0, 1)).double().mean(1)
            rises = np.diff(logits.view(len(drawn), -1).numpy(), axis=1)
            for order, rise in zip(drawn, rises, strict=True):
                out[row, order] += rise / (len(drawn) * len(sides))
    return out


def both_ways(rng: np.random.Generator, features: int, orders: int) -> Iterator[np.ndarray]:
    for _ in range(orders):
        order = rng.permutation(features)
        yield order
        yield order[::-1]


def integrated(sides: list[Side], points: int) -> np.ndarray:
    nodes, weights = np.polynomial.legendre.leggauss(points)
    out = torch.zeros(len(sides[0].encoded), sides[0].features).double()
    for side in sides:
        rise = side.encoded - side.average
        for node, weight in zip(nodes, weights, strict=True):
            place = (side.average + (node + 1) / 2 * rise).requires_grad_(True)
            (gradient,) = torch.autograd.grad(side.member.head(place).mean(1).sum(), place)
            share = (weight / 2 / len(sides)) * (rise * gradient).double()
            out.index_add_(1, side.owner, share)
    return out.numpy()


if __name__ == "__main__":
    main()
