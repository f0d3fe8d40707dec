"""`docker compose` on this machine without Docker: services of a compose file as processes.

Commands, environment, secrets, health checks and the order of starting are the compose file's. What
differs is what a container is: a service's name is an address of loopback, its volumes are folders,
and PostgreSQL is this machine's own. A directive that is not known here is an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "infra" / "compose"
# Of containers, and of no use to processes; test_deployment_files.py looks at some of them.
KNOWN = {
    "image", "init", "read_only", "tmpfs", "cap_drop", "security_opt", "logging", "deploy",
    "restart", "networks", "profiles", "ports", "stop_grace_period", "command", "environment",
    "secrets", "volumes", "depends_on", "healthcheck", "user",
}  # fmt: skip
HEALTHY_SECONDS = 240.0
STOP_SECONDS = 10.0
# PostgreSQL refuses root, so root becomes somebody else.
POSTGRES: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}


@dataclass
class Composed:
    """folder: of volumes and logs. variables: .env. ports: on loopback, by `service:port`."""

    folder: Path
    variables: dict[str, str]
    ports: dict[str, int]
    path: str = ""
    without: list[str] = field(default_factory=list)
    well: set[str] = field(default_factory=set)

    @property
    def file(self) -> dict[str, Any]:
        text = (COMPOSE / "compose.yaml").read_text(encoding="utf-8")
        made: dict[str, Any] = interpolated(yaml.safe_load(text), self.variables)
        return made

    def service(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.file["services"][name]
        assert set(found) <= KNOWN, f"{name}: {set(found) - KNOWN}"
        return found

    # -- what a container sees --------------------------------------------------------------------

    def mounts(self, name: str) -> dict[str, Path]:
        """Folders and files of this machine by their place in the container."""
        seen = {
            "/run/secrets": self.folder / "secrets" / name,
            "/opt/dagster": self.folder / "home",
        }
        seen |= {"/etc/gateway": ROOT / "infra" / "gateway"}
        for volume in map(mount, self.service(name).get("volumes", ())):
            source = volume["source"]
            local = COMPOSE / source if source.startswith("./") else Path(source)
            local = local if "/" in source else self.folder / "volumes" / source
            part = volume.get("volume", {}).get("subpath")
            seen[volume["target"]] = local / part if part else local
            if part:  # the folders around it are the container's own, with nothing else in them
                around = Path(volume["target"]).parent
                seen[str(around)] = self.folder / "own" / name / around.name
        return seen

    def here(self, name: str, text: str) -> str:
        """A word of a command or a variable, with its places and addresses as they are here."""
        for place, local in sorted(self.mounts(name).items(), key=lambda item: -len(item[0])):
            text = re.sub(rf"(?<![\w/.]){re.escape(place)}(?![\w-])", str(local), text)
        for address, port in self.ports.items():
            service, inside = address.split(":")
            text = re.sub(rf"\b{service}:{inside}\b", f"127.0.0.1:{port}", text)
            if service == self.of_port(name, inside):
                text = re.sub(rf"(?<![\d.]){inside}(?!\d)", str(port), text)
        return text.replace("--host=0.0.0.0", "--host=127.0.0.1")

    def of_port(self, name: str, inside: str) -> str:
        """Whose port a bare number in the words of a service is."""
        own = f"{name}:{inside}" in self.ports
        return name if own else {"4000": "code", "5432": "postgres"}.get(inside, "")

    def environment(self, name: str) -> dict[str, str]:
        given = self.service(name).get("environment", {})
        made = {
            k: self.here(name, str(v)) for k, v in given.items() if k != "POSTGRES_PASSWORD_FILE"
        }
        if made.get("DAGSTER_CODE_HOST") == "code":
            made["DAGSTER_CODE_HOST"] = "127.0.0.1"
        if made.get("MF_METADATA_DB_HOST") == "postgres":
            made["MF_METADATA_DB_HOST"] = "127.0.0.1"
        outside = {"PYTHONPATH", "HOME", "LANG"}
        kept = {k: v for k, v in os.environ.items() if k in outside}
        image = {
            "PATH": self.path,
            "DAGSTER_HOME": str(self.folder / "home"),
            "METAFLOW_USER": "toy",
        }
        image |= {"OIDC_CA_BUNDLE": self.variables["OIDC_CA_BUNDLE"]}
        image |= {"SECRETS_FOLDER": str(self.folder / "secrets" / name)}
        image |= {"GATEWAY_RUN": str(self.folder / "run"), "PYTHONUNBUFFERED": "1"}
        if name == "postgres":
            image |= {"PGHOST": str(self.folder), "PGPORT": str(self.ports["postgres:5432"])}
        return kept | image | made

    def put_secrets(self, name: str) -> None:
        """Files, as a container has them when it is made."""
        folder = self.folder / "secrets" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for one in self.service(name).get("secrets", ()):
            one = {"source": one, "target": one} if isinstance(one, str) else one
            shutil.copy(self.file["secrets"][one["source"]]["file"], folder / one["target"])
            (folder / one["target"]).chmod(0o444)

    def words(self, name: str, command: Sequence[str]) -> list[str]:
        entry = str(ROOT / "infra" / "docker" / "entrypoint.sh")
        return [entry, *(self.here(name, str(word)) for word in command)]

    # -- what docker compose does ------------------------------------------------------------------

    def up(self, names: Sequence[str] = ()) -> None:
        """Starts what does not run, each after what it needs is well, and waits for all."""
        services = self.file["services"]
        asked = names or [name for name, one in services.items() if "profiles" not in one]
        first = sorted(asked, key=lambda name: len(self.needs(name)))
        started = [name for name in first if self.start(name)]
        for name in started:
            self.wait(name)

    def needs(self, name: str) -> list[str]:
        return [n for n in self.service(name).get("depends_on", ()) if n not in self.without]

    def start(self, name: str) -> bool:
        if name in self.without or self.process(name):
            return False
        for needed in self.needs(name):
            self.start(needed)
            self.wait(needed)
        self.prepare(name)
        with (self.folder / f"{name}.log").open("ab") as log:
            if name == "postgres":
                process = self.start_postgres(log)
            else:
                command = self.words(name, self.service(name).get("command", ()))
                process = self.popen(name, command, stdout=log, stderr=log, start_new_session=True)
        (self.folder / f"{name}.pid").write_text(f"{process.pid}")
        if name == "postgres":
            self.wait(name)
            self.make_databases()
        return True

    def prepare(self, name: str) -> None:
        """Its secrets as they are now, and its volumes."""
        self.put_secrets(name)
        (self.folder / "run").mkdir(exist_ok=True)
        seen = self.mounts(name)
        for place, local in sorted(seen.items()):
            if local.is_relative_to(self.folder):
                local.mkdir(parents=True, exist_ok=True)
            around = seen.get(str(Path(place).parent))
            if around and around.is_relative_to(self.folder / "own"):
                with contextlib.suppress(FileExistsError):
                    (around / Path(place).name).symlink_to(local)

    def wait(self, name: str) -> None:
        """Until its health check passes; not asked before the service listens."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        check = self.service(name)["healthcheck"]["test"]
        while name not in self.well:
            if self.listens(name) and self.run(name, check[1:], quiet=True).returncode == 0:
                self.well.add(name)
                return
            log = self.folder / f"{name}.log"
            if self.process(name) is None or time.monotonic() > deadline:
                raise SystemExit(f"{name} is not well:\n{log.read_text()[-3000:]}")
            time.sleep(0.5)  # a check is a process, and takes from those that start

    def listens(self, name: str) -> bool:
        for address, port in self.ports.items():
            if address.startswith(f"{name}:"):
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0
        return True

    def process(self, name: str) -> psutil.Process | None:
        try:
            found = psutil.Process(int((self.folder / f"{name}.pid").read_text()))
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None
        return None if has_ended(found) else found

    def stop(self, names: Sequence[str] = (), sig: signal.Signals = signal.SIGTERM) -> None:
        """Services, and whatever they have started: a container ends with its first process. What
        others write to ends last."""
        asked = set(names or self.file["services"])
        for group in (asked - {"postgres"}, asked & {"postgres"}):
            running = {name: one for name in group if (one := self.process(name))}
            families = [p for one in running.values() for p in (one, *one.children(recursive=True))]
            for name, process in running.items():
                process.send_signal(signal.SIGINT if name == "postgres" else sig)
            deadline = time.monotonic() + STOP_SECONDS
            while not all(map(has_ended, running.values())) and time.monotonic() < deadline:
                time.sleep(0.1)
            for left in families:
                with contextlib.suppress(psutil.NoSuchProcess):
                    left.kill()
            for name in running:
                (self.folder / f"{name}.pid").unlink()
            self.well -= group

    def run(
        self, name: str, command: Sequence[str], *, quiet: bool = False, **given: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """A command in the service's container, or in one like it."""
        if quiet:
            given |= {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = self.popen(name, self.words(name, command), **given)
        return subprocess.CompletedProcess([], process.wait(), b"", b"")

    def popen(self, name: str, words: Sequence[str], **given: Any) -> subprocess.Popen[bytes]:
        who = POSTGRES if "user" in self.service(name) else {}
        return subprocess.Popen(words, cwd=ROOT, env=self.environment(name), **who, **given)

    # -- what the image of PostgreSQL does ---------------------------------------------------------

    def start_postgres(self, log: Any) -> subprocess.Popen[bytes]:
        """Makes the cluster once."""
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        cluster = self.folder / "volumes" / "postgres"
        password = self.folder / "secrets" / "postgres" / "postgres_password"
        if POSTGRES:
            for place in (self.folder, cluster):
                shutil.chown(place, POSTGRES["user"])
        given: dict[str, Any] = {"cwd": "/", "stdout": log, "stderr": log, **POSTGRES}
        if not (cluster / "PG_VERSION").exists():
            options = self.service("postgres")["environment"]["POSTGRES_INITDB_ARGS"].split()
            if not POSTGRES:  # whoever runs this is called otherwise than the image's user
                options = [option.replace("local=peer", "local=trust") for option in options]
            command = [programs / "initdb", "-U", "postgres", f"--pwfile={password}", *options]
            subprocess.run([*command, "-D", cluster], check=True, **given)
        port = str(self.ports["postgres:5432"])
        options = ["-p", port, "-k", self.folder, "-c", "fsync=off"]
        return subprocess.Popen([programs / "postgres", "-D", cluster, *options], **given)

    def make_databases(self) -> None:
        if not (done := self.folder / "databases").exists():
            script = self.words("postgres", ["/docker-entrypoint-initdb.d/databases.sh"])
            assert self.popen("postgres", script).wait() == 0
            done.touch()

    # -- kept between calls ------------------------------------------------------------------------

    def save(self) -> Path:
        kept = {"folder": str(self.folder), "variables": self.variables, "ports": self.ports}
        file = self.folder / "composed.json"
        file.write_text(json.dumps(kept | {"path": self.path, "without": self.without}))
        return file

    @classmethod
    def load(cls, file: Path) -> Composed:
        kept = json.loads(file.read_text())
        return cls(Path(kept.pop("folder")), **kept)


def mount(volume: str | dict[str, Any]) -> dict[str, Any]:
    """A volume of a service in compose's long syntax."""
    if not isinstance(volume, str):
        return volume
    source, target, *options = volume.split(":")
    return {"source": source, "target": target, "read_only": options == ["ro"]}


def has_ended(process: psutil.Process) -> bool:
    """Also one of whose end nobody has taken notice yet."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def interpolated(part: Any, variables: Mapping[str, str]) -> Any:
    """${NAME}, ${NAME:-default} and ${NAME:?reason} in every value, as compose has them: after YAML
    is read, so that what is empty is an empty text."""

    def one(match: re.Match[str]) -> str:
        name, kind, more = match[1], match[2], match[3] or ""
        value = variables.get(name, "")
        assert value or kind != ":?", f"{name} is not set: {more}"
        return value or more

    if isinstance(part, dict):
        return {key: interpolated(value, variables) for key, value in part.items()}
    if isinstance(part, list):
        return [interpolated(value, variables) for value in part]
    if isinstance(part, str):
        return re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", one, part)
    return part
