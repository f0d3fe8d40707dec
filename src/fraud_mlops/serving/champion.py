"""The champion as it is served: looked for, verified, swapped in whole; or the reason why not."""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from fraud_mlops.contract import Contract
from fraud_mlops.errors import BundleError, ContractError, FraudMlopsError, RegistryError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import list_children, tag_at
from fraud_mlops.registry.bundle import list_versions, manifest_tag, read_manifest
from fraud_mlops.registry.pointers import Role, read_pointer
from fraud_mlops.serving.entity_state import read_entity_state, state_uri
from fraud_mlops.serving.histories import EntityHistories
from fraud_mlops.serving.loading import Loaded, load_model, scorer_of
from fraud_mlops.serving.scorer import Scorer

_LISTED = 20
"""Folders that are looked at for models where none leads."""
LONGEST_WAIT = 60.0
_ADDRESS = re.compile(r"\b[a-z0-9+]+://[^\s,;)]+")
_OF_MODELS = (BundleError, ContractError, RegistryError)

log = logging.getLogger("fraud.serving")


@dataclass(frozen=True)
class Refused:
    """A version that is not served, and why."""

    version: str
    reason: str
    at: datetime


class _Named(NamedTuple):
    """What is pointed at. manifest: tag of that version's, which may be written anew."""

    version: str
    manifest: str | None


@dataclass
class _Pause:
    """Until when what failed is left alone, and why: each time twice as long, up to a minute."""

    what: str | _Named | None = None
    why: str | None = None
    until: float = 0.0
    wait: float = 1.0

    def holds(self, what: str | _Named | None) -> bool:
        return what == self.what and time.monotonic() < self.until

    def begin(self, what: str | _Named | None, why: str) -> None:
        self.what, self.why, self.until = what, why, time.monotonic() + self.wait
        self.wait = min(2 * self.wait, LONGEST_WAIT)


@dataclass
class ServedModel:
    """One role's model. `scorer` is replaced, never changed: who took it keeps a whole one.

    problem: why there is nothing, or nothing newer, to serve; state_problem: why what is served
    does not know what entities did of late. None when all is well.
    """

    models_uri: str
    dataset: str
    lakehouse: Lakehouse
    role: Role = "champion"
    scorer: Scorer | None = None
    refused: Refused | None = None
    problem: str | None = "starting"
    state_problem: str | None = None
    swaps: int = 0
    since: datetime | None = None
    _loaded: Loaded | None = None
    _named: _Named | None = None
    _state_tag: str | None = None
    _noted: dict[str, str] = field(default_factory=dict)
    _versions: _Pause = field(default_factory=_Pause)
    _states: _Pause = field(default_factory=_Pause)

    def look(self) -> bool:
        """Brings the served model up to the pointer, and its histories up to the entity state,
        whatever is pointed at. True when either is another now.

        Never raises: what went wrong is in `problem`, `refused` and `state_problem`, and what was
        served goes on. What was refused is tried again after a wait that doubles, up to a minute.
        """
        swapped, self.problem = self._tried(self._follow)
        renewed, self.state_problem = self._tried(self._renew)
        return swapped or renewed

    def _tried(self, look: Callable[[], tuple[bool, str | None]]) -> tuple[bool, str | None]:
        """Whether something moved, and what is wrong; the log hears of each thing once."""
        try:
            moved, problem = look()
        except (FraudMlopsError, OSError) as error:
            if self._is_news(look.__name__, error):
                log.warning("%s: %s", self.role, error)
            return False, self._shown(error)
        except Exception as error:  # a damaged bundle may break anything; the old one serves on
            if self._is_news(look.__name__, error):
                log.exception("the %s cannot be loaded", self.role)
            return False, self._shown(error)
        if problem is None:
            self._noted.pop(look.__name__, None)
        return moved, problem

    def _is_news(self, look: str, error: Exception) -> bool:
        """Whether this look has not failed so the last time, by type, text and notes."""
        told = "".join(traceback.format_exception_only(error))
        news = self._noted.get(look) != told
        self._noted[look] = told
        return news

    def _follow(self) -> tuple[bool, str | None]:
        pointer = read_pointer(self.models_uri, self.dataset, self.role)
        if pointer is None:
            self.refused, self._versions = None, _Pause()
            return self._unnamed(), self._none_yet()
        version = pointer.version
        named = _Named(version, manifest_tag(self.models_uri, self.dataset, version))
        if named == self._named:
            self.refused, self._versions = None, _Pause()
            return False, None
        if self._versions.holds(named):
            return False, self._versions.why
        try:
            moved = self._swap(version)
        except Exception as error:
            self.refused = Refused(version, self._shown(error), datetime.now(UTC))
            self._versions.begin(named, self.refused.reason)
            error.add_note(f"of {self.dataset} {version}")
            raise
        self._named, self.refused, self._versions = named, None, _Pause()
        return moved, None

    def _none_yet(self) -> str | None:
        """A champion is lacked; a challenger need not be there."""
        if self.role == "challenger":
            return None
        if "none yet" not in self._noted:
            self._noted["none yet"] = told = self._where_none_is()
            log.warning(told)
        return "no champion yet: train one, or promote a version"

    def _where_none_is(self) -> str:
        """For the log alone: /readyz, which anybody reads, tells no address."""
        told = f"no champion of {self.dataset} in {self.models_uri}"
        root = self.models_uri
        there = [name for name in list_children(root)[:_LISTED] if list_versions(root, name)]
        if self.dataset in there:
            return f"{told}: its versions are there, and none leads"
        if not there:
            return f"{told}, where no model is: is it the one that training writes to?"
        return f"{told}; it has models of {', '.join(there)} (FRAUD_API_DATASET)"

    def _unnamed(self) -> bool:
        """A challenger goes; a champion that was retired serves on."""
        if self.role == "champion" or self.scorer is None:
            return False
        self.scorer, self._loaded, self._named = None, None, None
        return True

    def _swap(self, version: str) -> bool:
        """False where the manifest of what is served was but written once more."""
        served = self.scorer
        if served is not None and served.version == version:
            manifest = read_manifest(self.models_uri, self.dataset, version)
            if manifest.digest == served.manifest.digest:
                return False
        loaded = load_model(self.models_uri, self.dataset, version)
        tag = self._tag(loaded.contract)
        scorer = scorer_of(loaded, self._histories(loaded.contract))
        self._loaded, self._state_tag, self._states = loaded, tag, _Pause()
        self.scorer = scorer  # one assignment: whole or not at all
        self.swaps, self.since = self.swaps + 1, datetime.now(UTC)
        does = "is served" if self.role == "champion" else "looks on"
        log.info("%s %s %s", self.role, version, does)
        return True

    def _renew(self) -> tuple[bool, str | None]:
        if self.scorer is None or self._loaded is None:
            return False, None
        contract = self._loaded.contract
        tag = self._tag(contract)
        if tag == self._state_tag:
            self._states = _Pause()
            return False, None
        if self._states.holds(tag):
            return False, self._states.why
        try:
            self.scorer = scorer_of(self._loaded, self._histories(contract))
        except Exception as error:
            self._states.begin(tag, self._shown(error))
            raise
        self._state_tag, self._states = tag, _Pause()
        return True, None

    def _histories(self, contract: Contract) -> EntityHistories:
        return EntityHistories(contract, read_entity_state(contract, self.lakehouse))

    def _tag(self, contract: Contract) -> str | None:
        """Of the entity state's object; None without one."""
        return tag_at(state_uri(contract, self.lakehouse)) if contract.entities else None

    def _shown(self, error: Exception) -> str:
        """What anybody may read who only asks whether we are ready: what a model lacks, without
        addresses. Of a store no word that its client has chosen: it may name bucket, container,
        account or folder, in whatever way."""
        if not isinstance(error, (FraudMlopsError, OSError)):
            return f"unexpected {type(error).__name__}; see the server's log"
        if not isinstance(error, _OF_MODELS):
            return "models or entity state cannot be read; the server's log says why"
        words = str(error)
        for uri in (self.models_uri, self.lakehouse.root):
            words = words.replace(uri, "...")
        return _ADDRESS.sub("...", words)
