"""The champion as it is served: looked for, verified, swapped in whole; or the reason why not."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fraud_mlops.contract import Contract
from fraud_mlops.errors import BundleError, ContractError, FraudMlopsError, RegistryError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import open_input, tag_of
from fraud_mlops.registry.pointers import Role, read_pointer
from fraud_mlops.serving.entity_state import read_entity_state, state_uri
from fraud_mlops.serving.histories import EntityHistories
from fraud_mlops.serving.loading import Loaded, load_model, scorer_of
from fraud_mlops.serving.scorer import Scorer

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


@dataclass
class ServedModel:
    """One role's model. `scorer` is replaced, never changed: who took it keeps a whole one.

    problem: why there is nothing, or nothing newer, to serve; None when all is well.
    """

    models_uri: str
    dataset: str
    lakehouse: Lakehouse
    role: Role = "champion"
    scorer: Scorer | None = None
    refused: Refused | None = None
    problem: str | None = "starting"
    swaps: int = 0
    since: datetime | None = None
    _loaded: Loaded | None = None
    _state_tag: str | None = None
    _noted: str | None = None
    _retry_at: float = 0.0
    _wait: float = field(default=1.0)

    def look(self) -> bool:
        """Brings the served model up to the pointer. True when another one is served now.

        Never raises: what went wrong is in `problem` and `refused`, and what was served goes on.
        A version that was refused is tried again after a wait that doubles, up to a minute.
        """
        try:
            return self._look()
        except (FraudMlopsError, OSError) as error:
            if self._noted != str(error):
                log.warning("%s: %s", self.role, error)
            self._noted, self.problem = str(error), self._shown(error)
        except Exception as error:  # a damaged bundle may break anything; the old one serves on
            log.exception("the %s cannot be loaded", self.role)
            self._noted, self.problem = None, self._shown(error)
        return False

    def _look(self) -> bool:
        pointer = read_pointer(self.models_uri, self.dataset, self.role)
        if pointer is None:
            return self._unnamed()
        serves = self.scorer is not None and self.scorer.version == pointer.version
        if serves and not self._state_moved():
            self._well()
            return False
        refused = self.refused and self.refused.version == pointer.version
        if refused and not serves and time.monotonic() < self._retry_at:
            return False
        return self._swap(pointer.version)

    def _unnamed(self) -> bool:
        """A challenger goes; a champion that was retired serves on, by what entities do now."""
        moved = False
        if self.role == "challenger" and self.scorer is not None:
            self.scorer, self._loaded, moved = None, None, True
        elif self.scorer is not None and self._state_moved():
            moved = self._swap(self.scorer.version)
        self.problem = f"no {self.role} yet: train one, or promote a version"
        return moved

    def _swap(self, version: str) -> bool:
        try:
            loaded = self._loaded
            if loaded is None or loaded.manifest.version != version:
                loaded = load_model(self.models_uri, self.dataset, version)
            contract = loaded.contract
            tag = self._tag(contract)
            scorer = scorer_of(loaded, self._histories(contract))
        except Exception as error:
            self._refuse(version, self._shown(error))
            raise
        self._loaded, self._state_tag = loaded, tag
        another = self.scorer is None or self.scorer.version != version
        self.scorer = scorer  # one assignment: whole or not at all
        if another:
            self.swaps, self.since = self.swaps + 1, datetime.now(UTC)
            log.info("%s %s is served", self.role, version)
        self._well()
        return True

    def _well(self) -> None:
        self.problem, self.refused, self._noted, self._wait = None, None, None, 1.0

    def _histories(self, contract: Contract) -> EntityHistories:
        return EntityHistories(contract, read_entity_state(contract, self.lakehouse))

    def _state_moved(self) -> bool:
        if self._loaded is None:
            return False
        return self._tag(self._loaded.contract) != self._state_tag

    def _tag(self, contract: Contract) -> str | None:
        """Of the entity state's object (ETag, or inode, time and size); None without one."""
        if not contract.entities:
            return None
        try:
            with open_input(state_uri(contract, self.lakehouse)) as stream:
                return tag_of(stream)
        except FileNotFoundError:
            return None

    def _refuse(self, version: str, reason: str) -> None:
        if self.scorer is not None and self.scorer.version == version:
            return  # its entity state is at fault, not the version
        self.refused = Refused(version, reason, datetime.now(UTC))
        self._retry_at = time.monotonic() + self._wait
        self._wait = min(2 * self._wait, LONGEST_WAIT)

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


class Watcher:
    """A thread that looks after served models, at once and then every so often, until it is told to
    stop."""

    def __init__(
        self, looks: list[Callable[[], object]], seconds: float, name: str = "champion-watcher"
    ) -> None:
        self._looks, self._seconds = looks, seconds
        self._stop, self._looked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, wait: float = 0.0) -> None:
        """Comes back after the first look, or after so many seconds: a store may be silent."""
        self._thread.start()
        self._looked.wait(wait)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            for look in self._looks:
                look()
            self._looked.set()
            if self._stop.wait(self._seconds):
                return
