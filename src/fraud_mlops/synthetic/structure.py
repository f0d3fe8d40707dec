"""Who is involved in each claim, and the structure laid over it: rings, busy spells, follow-ups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraud_mlops.synthetic.draws import Floats, hash32
from fraud_mlops.synthetic.patterns import Bursts, FollowUps, draw_bursts, draw_follow_ups
from fraud_mlops.synthetic.perils import COLLISION, GLASS, INJURY, WEATHER
from fraud_mlops.synthetic.population import Numbers, Population
from fraud_mlops.synthetic.regimes import REGIMES

BUSY_SHARE = 0.012
"""Share of claims in bursts that are nobody's fault: a hail storm, a fleet's contract."""
REPEAT_SHARE = 0.004
"""Share of claims that genuinely follow another of the same policyholder within days."""

_PROVIDERS_PER_RING = 40
_RING_MEMBERS = 60
_RING_SECONDS = 31_556_952  # a ring moves on to other providers after a year
_MOVED_BY_DRIFT = 1_000
_MEMBER, _PROVIDER, _AGENT = 0x11, 0x22, 0x33


@dataclass
class Involved:
    """Who and what is in each claim, [rows] each; structure overwrites rows in place."""

    policyholder: Numbers
    second_vehicle: NDArray[np.bool_]
    provider: Numbers
    agent: Numbers
    peril: NDArray[np.uint8]
    distance: Floats
    policy_age: Floats


@dataclass(frozen=True)
class Structure:
    """Rows that stand in a ring's burst, and duplicates of earlier rows."""

    rings: Bursts
    duplicates: FollowUps


def add_structure(
    involved: Involved,
    population: Population,
    rng: np.random.Generator,
    elapsed: NDArray[np.int64],
    regime: NDArray[np.uint8],
    rows_per_day: float,
    incidence: float,
) -> Structure:
    """Overwrite rows of `involved` with structure and say where it lies.

    elapsed: seconds since the source began, ascending; incidence: a factor on fraud patterns.
    """
    rows = len(elapsed)
    taken = np.zeros(rows, np.bool_)
    share = _share("ring_incidence", regime) * incidence
    rings = draw_bursts(rng, rows, min(share, 0.4), rows_per_day)
    _gather_ring(involved, population, rng, rings, elapsed, regime)
    taken[rings.row] = True

    busy = draw_bursts(rng, rows, BUSY_SHARE, rows_per_day)
    _gather_busy(involved, population, rng, busy.without(taken))
    taken[busy.row] = True

    repeats = draw_follow_ups(rng, rows, REPEAT_SHARE, rows_per_day, taken)
    _repeat(involved, repeats)
    taken[repeats.row] = taken[repeats.source] = True

    share = _share("duplicate_incidence", regime) * incidence
    duplicates = draw_follow_ups(rng, rows, min(share, 0.3), rows_per_day, taken)
    _repeat(involved, duplicates)
    for column in (involved.provider, involved.agent, involved.peril, involved.distance):
        column[duplicates.row] = column[duplicates.source]
    return Structure(rings, duplicates)


def _share(attribute: str, regime: NDArray[np.uint8]) -> float:
    after = float(regime.mean()) if len(regime) else 0.0
    before, later = (float(getattr(r, attribute)) for r in REGIMES)
    return before * (1 - after) + later * after


def _gather_ring(
    involved: Involved,
    population: Population,
    rng: np.random.Generator,
    rings: Bursts,
    elapsed: NDArray[np.int64],
    regime: NDArray[np.uint8],
) -> None:
    """A ring is one provider, one agent and some sixty people, and stays so for a year."""
    slots = max(2, population.providers // _PROVIDERS_PER_RING)
    era = elapsed[rings.first_row] // _RING_SECONDS
    era += np.where(regime[rings.first_row], _MOVED_BY_DRIFT, 0)
    ring = (rng.integers(0, slots, rings.count) + slots * era).astype(np.uint32)
    salt = population.salt
    provider = hash32(ring, salt + _PROVIDER) % np.uint32(population.providers)
    agent = hash32(ring, salt + _AGENT) % np.uint32(population.agents)
    member = ring[rings.burst] * np.uint32(_RING_MEMBERS)
    member += rng.integers(0, _RING_MEMBERS, len(rings.row), np.uint32)

    row = rings.row
    involved.policyholder[row] = hash32(member, salt + _MEMBER) % np.uint32(
        population.policyholders
    )
    involved.provider[row] = provider[rings.burst]
    involved.agent[row] = agent[rings.burst]
    involved.distance[row] *= np.float32(4)
    at_clinic = provider[rings.burst] < population.clinics
    involved.peril[row] = np.where(at_clinic, INJURY, COLLISION)


def _gather_busy(
    involved: Involved, population: Population, rng: np.random.Generator, busy: Bursts
) -> None:
    """Weather brings its claims to one repair shop, by any agent and from nearby."""
    shops = rng.integers(population.clinics, population.providers, busy.count, np.uint32)
    involved.provider[busy.row] = shops[busy.burst]
    glass = rng.random(len(busy.row)) < 0.35
    involved.peril[busy.row] = np.where(glass, GLASS, WEATHER)


def _repeat(involved: Involved, follow_ups: FollowUps) -> None:
    for column in (involved.policyholder, involved.second_vehicle, involved.policy_age):
        column[follow_ups.row] = column[follow_ups.source]
