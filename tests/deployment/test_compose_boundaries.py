"""Who of the compose file's services reaches whom, what each may write, who has which secret."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest
from composed import COMPOSE, mount
from deployment_files import SERVICES, compose

from fraud_mlops.serving import entity_state, prediction_log

LAKEHOUSE = "/data/lakehouse"
TO_THE_STORE = re.compile(r"AWS_|AZURE_")


def neighbours(name: str) -> set[str]:
    """Services that share a network with it, and so can open any of its ports."""
    own = set(SERVICES[name].get("networks", ()))
    others = (n for n, one in SERVICES.items() if own & set(one["networks"]))
    return {*others} - {name}


def test_the_api_and_the_gateway_reach_each_other_and_the_api_nobody_else() -> None:
    assert neighbours("api") == {"gateway"}
    assert neighbours("gateway") == {"api", "webserver", "viewer", "admin"}


def test_runs_are_launched_by_nobody_but_through_the_gateway_and_from_within() -> None:
    """Dagster's webserver knows no users, and a code location runs what it is told to."""
    within = {"postgres", "metaflow", "code", "daemon", "admin"}
    assert neighbours("webserver") == {"gateway", "viewer", *within}
    assert neighbours("code") == {"webserver", "viewer", *within} - {"code"}


def test_the_api_sees_of_the_lakehouse_what_it_reads_and_writes_its_log_alone() -> None:
    mounts = [mount(volume) for volume in SERVICES["api"]["volumes"]]
    writes = {m["target"] for m in mounts if not m["read_only"]}
    reads = {m["target"] for m in mounts if m["read_only"]}
    assert SERVICES["api"]["environment"]["LAKEHOUSE_URI"] == LAKEHOUSE
    assert SERVICES["api"]["environment"]["FRAUD_API_LOG_FOLDER"] == "/waiting"
    assert writes == {f"{LAKEHOUSE}/{prediction_log.ZONE}", "/waiting", "/bodies"}
    assert reads == {f"{LAKEHOUSE}/models", f"{LAKEHOUSE}/{entity_state.ZONE}", "/keys"}


def test_bodies_of_batches_are_on_the_apis_disk_and_not_in_its_memory() -> None:
    api = SERVICES["api"]
    spool = api["environment"]["TMPDIR"]
    assert spool in [m["target"] for m in map(mount, api["volumes"]) if not m["read_only"]]
    assert spool not in api["tmpfs"]


def test_bodies_of_batches_have_a_volume_that_the_apis_user_may_write() -> None:
    """Where they share that of the prediction log, so many that the disk is full end scoring."""
    api = SERVICES["api"]
    spool, log = api["environment"]["TMPDIR"], api["environment"]["FRAUD_API_LOG_FOLDER"]
    volumes = {m["target"]: m["source"] for m in map(mount, api["volumes"])}
    assert list(volumes.values()).count(volumes[spool]) == 1
    assert volumes[spool] != volumes[log]
    assert volumes[spool] in compose()["volumes"]
    image = (COMPOSE.parent / "api" / "Dockerfile").read_text()
    assert re.search(rf"mkdir [^&]*{spool}\s[^&]*&& chown api [^&]*{spool}\s", image)


def test_parts_of_a_volume_are_those_of_its_place_and_in_the_image_that_fills_it() -> None:
    """Docker starts no container whose part of a volume is missing."""
    image = (COMPOSE.parent / "docker" / "Dockerfile").read_text()
    parts = [m for m in map(mount, SERVICES["api"]["volumes"]) if "volume" in m]
    assert len(parts) == 3
    for part in parts:
        assert f"/data/{part['volume']['subpath']}" == part["target"]
        assert re.search(rf"mkdir -p [^&]*{part['target']}\s", image)
    assert "chown -R fraud /opt/dagster/storage /keys /data\n" in image
    assert "data:/data" in SERVICES["code"]["volumes"]
    assert "code" in SERVICES["api"]["depends_on"]


def with_a_store() -> str:
    """The compose file as somebody makes it whose lakehouse is in a store, by its own lines."""
    text = (COMPOSE / "compose.yaml").read_text()
    text = text.replace("[] # [{ source", "[{ source")
    return re.sub(r"^( +)# (?=- \{ source: |\w+: \{ file: )", r"\1", text, flags=re.MULTILINE)


def test_whoever_opens_the_lakehouse_has_the_key_of_its_store() -> None:
    made = compose(with_a_store())
    opens = {
        n: s for n, s in made["services"].items() if "LAKEHOUSE_URI" in s.get("environment", ())
    }
    assert opens.keys() == {"code", "daemon", "api", "admin"}
    for name, service in opens.items():
        keys = [one for one in service["secrets"] if TO_THE_STORE.match(one["target"])]
        assert [key["target"] for key in keys] == ["AWS_SECRET_ACCESS_KEY"], name
        assert all(key["source"] in made["secrets"] for key in keys)


def test_the_api_has_a_key_of_its_own_and_no_other_secret() -> None:
    services = compose(with_a_store())["services"]
    (key,) = services["api"]["secrets"]
    others = [one for name in ("code", "daemon", "admin") for one in services[name]["secrets"]]
    assert key["source"] not in {one["source"] for one in others}


# -- infra/compose/secrets.sh ---------------------------------------------------------------------


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    make(folder)
    return folder


def make(folder: Path) -> str:
    given = {"PATH": "/usr/bin:/bin", "SECRETS": str(folder)}
    script = ["bash", "-c", 'umask 027 && exec "$0"', str(COMPOSE / "secrets.sh")]
    done = subprocess.run(script, env=given, capture_output=True, text=True, check=True)
    return done.stdout


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_containers_read_the_secrets_and_only_their_owner_gets_at_them(secrets: Path) -> None:
    """Each container has a user of its own, and no capability to read what is somebody else's; what
    is mounted for it lies in a folder that nobody else of this machine gets into."""
    given = {
        secrets / "oidc_client_secret",
        secrets / "tls" / "tls.crt",
        secrets / "tls" / "tls.key",
    }
    for path in given:
        path.unlink(missing_ok=True)
        path.write_text("from others")
        path.chmod(0o600)
    assert make(secrets) == ""
    assert rights(secrets) == 0o700
    assert rights(secrets / "tls") == 0o755
    files = {path for path in secrets.rglob("*") if path.is_file()}
    assert given < files
    assert {path.name: rights(path) for path in files if rights(path) != 0o644} == {}


def test_what_others_give_is_asked_for_and_what_is_there_stays(secrets: Path) -> None:
    made = {path: path.read_text() for path in secrets.glob("*_password")}
    assert len(set(made.values())) == 3
    told = make(secrets)
    assert "oidc_client_secret" in told
    assert "tls.crt" in told
    assert made == {path: path.read_text() for path in secrets.glob("*_password")}


def test_every_secret_of_the_compose_file_is_made(secrets: Path) -> None:
    named = {Path(one["file"]).name for one in compose()["secrets"].values()}
    assert {path.name for path in secrets.iterdir() if path.is_file()} == named
