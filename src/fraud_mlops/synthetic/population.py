"""Who claims, with what vehicle, from whom: populations that scale with the number of claims."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fraud_mlops.synthetic.columns import REGIONS, VEHICLE_CLASSES
from fraud_mlops.synthetic.draws import (
    LEVELS,
    Bits,
    Floats,
    halves,
    hash32,
    midpoints,
    normal,
    shares_table,
    threshold,
)

Numbers = NDArray[np.uint32]

_CLAIMS_PER_PROVIDER = 100
_CLAIMS_PER_AGENT = 150
_CLINIC_SHARE = 0.15
_AT_A_TIME = 2
_SECOND_VEHICLE = 0.12
_SUCCESSORS = 8
_SHORTEST_LIFE, _LONGEST_LIFE = 5.0, 21.0
"""Years that a policyholder keeps a vehicle, from new until the next one replaces it."""

_CLASS_SHARE = (0.30, 0.22, 0.15, 0.18, 0.07, 0.04, 0.04)
_CLASS_VALUE = (11_000, 17_000, 19_000, 26_000, 18_000, 42_000, 8_000)
_REGION_SHARE = (0.16, 0.09, 0.12, 0.10, 0.15, 0.09, 0.14, 0.15)


@dataclass(frozen=True)
class Population:
    """How many of each there are. A provider sees about a hundred claims in the whole period."""

    policyholders: int
    providers: int
    clinics: int
    agents: int
    salt: int

    @classmethod
    def for_claims(cls, claims: int, seed: int) -> Population:
        providers = max(20, claims // _CLAIMS_PER_PROVIDER)
        return cls(
            policyholders=max(50, claims),
            providers=providers,
            clinics=max(3, round(providers * _CLINIC_SHARE)),
            agents=max(10, claims // _CLAIMS_PER_AGENT),
            salt=int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]),
        )

    def draw_policyholders(self, rng: np.random.Generator, rows: int) -> Numbers:
        return rng.integers(0, self.policyholders, rows, np.uint32)

    def draw_second_vehicle(self, bits: Bits) -> NDArray[np.bool_]:
        return bits < threshold(_SECOND_VEHICLE)

    def vehicles_of(
        self, policyholder: Numbers, second: NDArray[np.bool_], years: Floats
    ) -> tuple[Numbers, Floats]:
        """Number and age in whole years of the vehicle held `years` after the source began.

        Each is replaced at the end of its life, and where in it the source begins is uniform: so
        the fleet is as old on any day as on the first.
        """
        place = policyholder * np.uint32(_AT_A_TIME) + second
        life_bits, phase_bits = halves(hash32(place, self.salt + 0x37E1))
        life = _lives().take(life_bits)
        lived = years / life
        lived += phase_bits * np.float32(1 / LEVELS)
        replaced = np.floor(lived)
        lived -= replaced
        lived *= life
        number = place * np.uint32(_SUCCESSORS) + replaced.astype(np.uint32) % _SUCCESSORS
        return number, np.floor(lived)

    def draw_providers(self, rng: np.random.Generator, injury: NDArray[np.bool_]) -> Numbers:
        """Clinics (the lowest numbers) treat injuries, repair shops the rest; some are popular."""
        popularity = rng.random(len(injury), np.float32)
        popularity *= np.float32(0.6) + np.float32(0.4) * popularity
        shops = self.providers - self.clinics
        span = np.where(injury, np.float32(self.clinics), np.float32(shops))
        number = (popularity * span).astype(np.uint32)
        np.minimum(number, span.astype(np.uint32) - np.uint32(1), out=number)
        number += np.where(injury, np.uint32(0), np.uint32(self.clinics))
        return number

    def draw_agents(self, rng: np.random.Generator, rows: int) -> Numbers:
        return rng.integers(0, self.agents, rows, np.uint32)


@dataclass(frozen=True)
class Holders:
    """What stays with a policyholder and a vehicle from claim to claim; [rows] each."""

    driver_age: Floats
    region: NDArray[np.uint8]
    vehicle_class: NDArray[np.uint8]
    vehicle_age: Floats
    vehicle_value: Floats
    annual_mileage: Floats


def describe(
    population: Population, policyholder: Numbers, vehicle: Numbers, vehicle_age: Floats
) -> Holders:
    """Attributes read from hashes of the ids."""
    age_bits, region_bits = halves(hash32(policyholder, population.salt))
    class_bits, _ = halves(hash32(vehicle, population.salt + 0x5BD1))
    mileage_bits, value_bits = halves(hash32(vehicle, population.salt + 0xA3C7))
    vehicle_class = shares_table(_CLASS_SHARE).take(class_bits)
    value = np.array(_CLASS_VALUE, np.float32).take(vehicle_class)
    value *= np.exp(np.float32(0.3) * normal(value_bits) - np.float32(0.09) * vehicle_age)
    return Holders(
        driver_age=_driver_ages().take(age_bits),
        region=shares_table(_REGION_SHARE).take(region_bits),
        vehicle_class=vehicle_class,
        vehicle_age=vehicle_age,
        vehicle_value=value,
        annual_mileage=_mileages().take(mileage_bits),
    )


@lru_cache(maxsize=1)
def _driver_ages() -> Floats:
    return np.floor(18 + 70 * midpoints() ** 1.4).astype(np.float32)


@lru_cache(maxsize=1)
def _lives() -> Floats:
    lives = _SHORTEST_LIFE + (_LONGEST_LIFE - _SHORTEST_LIFE) * midpoints()
    return lives.astype(np.float32)


@lru_cache(maxsize=1)
def _mileages() -> Floats:
    z = normal(np.arange(LEVELS, dtype=np.uint16))
    return np.asarray(100 * np.rint(130 * np.exp(0.5 * z)), np.float32)


assert len(_CLASS_SHARE) == len(_CLASS_VALUE) == len(VEHICLE_CLASSES)  # noqa: S101
assert len(_REGION_SHARE) == len(REGIONS)  # noqa: S101
