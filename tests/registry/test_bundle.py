"""A bundle is whole and what was published, or it is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_kit import DATASET, UNTIL, files, long_ago, manifest, publish, write

from fraud_mlops.errors import BundleError, LakehouseError
from fraud_mlops.registry.bundle import (
    MANIFEST,
    bundle_version,
    list_versions,
    load_bundle,
    read_manifest,
    write_bundle,
    written,
)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def folder(models: Path, version: str) -> Path:
    return models / DATASET / version


def load(models: Path, version: str):
    return load_bundle(str(models), DATASET, version)


def test_what_is_published_comes_back(models: Path) -> None:
    version = publish(models)
    bundle = load(models, version)
    assert bundle.files == files()
    assert bundle.manifest.run == "FraudDetectionFlow/17"
    assert bundle.manifest.data_versions == {"2024-01": "0a1b"}
    assert bundle.manifest.metrics["average_precision"]["low"] == 0.4
    assert set(bundle.manifest.files) == set(files())
    assert bundle.manifest.python == ".".join(map(str, sys.version_info[:3]))
    assert read_manifest(str(models), DATASET, version) == bundle.manifest


def test_a_manifest_of_a_sample_says_so_and_others_are_as_before_there_was_such_a_word(
    models: Path,
) -> None:
    part, whole = publish(models, "a", sample="5 of 50 rows"), publish(models, "b")
    assert read_manifest(str(models), DATASET, part).sample == "5 of 50 rows"
    assert read_manifest(str(models), DATASET, whole).sample is None
    told = json.loads((folder(models, whole) / MANIFEST).read_text())
    digest = told.pop("digest")
    assert "sample" not in told
    text = json.dumps(told, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == digest


def test_a_manifest_that_called_the_day_of_its_labels_created_is_read_and_stays(
    models: Path,
) -> None:
    """Also when it is written once more, as an old version is that is made again."""
    version = publish(models)
    path = folder(models, version) / MANIFEST
    told = json.loads(path.read_text()) | {"schema_version": 1}
    told["created"] = told.pop("labels_as_of")
    del told["digest"]
    told["digest"] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
    before = path.read_bytes()
    for _ in range(2):
        assert load(models, version).manifest.labels_as_of == datetime(2025, 1, 1, tzinfo=UTC)
        long_ago(models, version, days=9)
        publish(models)
        assert path.read_bytes() == before


def test_a_bundle_is_files_and_json_and_nothing_that_runs(models: Path) -> None:
    version = publish(models)
    names = sorted(path.name for path in folder(models, version).iterdir())
    assert names == ["manifest.json", "network.json", "preprocessing.json", "weights.safetensors"]


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}\.json", fullmatch=True), st.binary(max_size=20)),
    st.binary(min_size=1, max_size=4),
)
@settings(max_examples=50, deadline=None)
def test_a_version_is_named_for_its_content(content: dict[str, bytes], other: bytes) -> None:
    version = bundle_version(content, UNTIL)
    assert version == bundle_version(dict(reversed(content.items())), UNTIL)
    assert version.startswith("20240301-")
    assert version != bundle_version(content | {"weights.safetensors": other}, UNTIL)
    for name in content:
        assert version != bundle_version(content | {name: content[name] + other}, UNTIL)


def test_the_date_in_a_version_is_utc_wherever_it_was_made() -> None:
    east = UNTIL.astimezone(timezone(timedelta(hours=13)))
    assert bundle_version(files(), east) == bundle_version(files(), UNTIL)


def test_publishing_the_same_model_again_changes_nothing_but_its_age(models: Path) -> None:
    """What a run is about to point at does not expire under it."""
    version = publish(models)
    before = {path: path.read_bytes() for path in folder(models, version).iterdir()}
    long_ago(models, version, days=900)
    again = write(models, files(), version, run="FraudDetectionFlow/18")
    assert {path: path.read_bytes() for path in folder(models, version).iterdir()} == before
    assert written(str(models), DATASET)[version] > datetime.now(UTC) - timedelta(minutes=5)
    assert again.manifest.run == "FraudDetectionFlow/17", "the run that was first to make it"


def test_a_model_that_comes_out_the_same_from_other_alerts_is_of_these(models: Path) -> None:
    """Or each training would bring them, and none would be done with it."""
    version = publish(models, contract={"name": DATASET, "alerts": {"budget": 0.05}})
    now = {
        "contract": {"name": DATASET, "alerts": {"budget": 0.02}},
        "metrics": {"precision_at_budget": {"value": 0.9, "low": 0.8, "high": 1.0}},
        "run": "FraudDetectionFlow/18",
    }
    write(models, files(), version, gate={"verdict": "hold", "reason": "The same."}, **now)
    found = load(models, version).manifest
    assert {name: getattr(found, name) for name in now} == now
    assert found.gate["verdict"] == "first", "by which it came to lead"


@pytest.mark.parametrize(("hours", "anew"), [(23, False), (25, True)])
def test_a_manifest_that_is_sound_is_not_written_again_within_a_day(
    models: Path, hours: int, anew: bool
) -> None:
    """Each write is a version of the object, where the store keeps those."""
    version = publish(models)
    long_ago(models, version, days=hours / 24)
    before = written(str(models), DATASET)[version]
    write(models, files(), version)
    assert (written(str(models), DATASET)[version] > before) is anew


@pytest.mark.parametrize("name", files())
def test_publishing_again_makes_whole_what_is_damaged_on_the_store(models: Path, name: str) -> None:
    version = publish(models)
    (folder(models, version) / name).write_bytes(b"lost")
    write(models, files(), version, run="FraudDetectionFlow/18")
    assert load(models, version).files == files()
    assert load(models, version).manifest.run == "FraudDetectionFlow/17", "its manifest was sound"


def test_publishing_again_makes_a_damaged_manifest_anew(models: Path) -> None:
    version = publish(models)
    (folder(models, version) / MANIFEST).write_text("{")
    write(models, files(), version, run="FraudDetectionFlow/18")
    assert load(models, version).manifest.run == "FraudDetectionFlow/18"


def test_a_version_is_never_given_other_content(models: Path) -> None:
    version = publish(models)
    with pytest.raises(BundleError, match=version):
        write(models, files(b"others"), version)
    assert load(models, version).files == files()


@pytest.mark.parametrize("written", range(3))
def test_a_bundle_without_its_manifest_is_none_and_is_completed(models: Path, written: int) -> None:
    """Killed after so many of its files: nobody can load it, and the retry completes it."""
    version = publish(models)
    (folder(models, version) / MANIFEST).unlink()
    for name in list(files())[written:]:
        (folder(models, version) / name).unlink()
    assert list_versions(str(models), DATASET) == []
    with pytest.raises(BundleError, match="no such model version"):
        load(models, version)

    assert publish(models) == version
    assert load(models, version).files == files()


def test_the_manifest_is_written_last(models: Path) -> None:
    """The store fails at the last file: what came before is no bundle."""
    version = bundle_version(files(), UNTIL)
    in_the_way = folder(models, version) / list(files())[-1]
    in_the_way.mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write(models, files(), version)
    assert (folder(models, version) / "weights.safetensors").exists()
    assert not (folder(models, version) / MANIFEST).exists()
    in_the_way.rmdir()
    write(models, files(), version)
    assert load(models, version).files == files()


WRITER = """
import sys
from registry_kit import files, write, UNTIL
from fraud_mlops.registry.bundle import bundle_version
content = {f"part{i}.json": bytes([i]) * 2_000_000 for i in range(40)}
print(bundle_version(content, UNTIL), flush=True)
write(sys.argv[1], content, bundle_version(content, UNTIL))
"""


def test_a_writer_killed_in_the_middle_leaves_no_bundle_and_its_retry_a_whole_one(
    models: Path,
) -> None:
    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(models)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    with start() as process:
        assert process.stdout is not None
        version = process.stdout.readline().strip()
        while not list(folder(models, version).glob("part1*.json")):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert list_versions(str(models), DATASET) == []
    again = start()
    assert again.communicate()[0].strip() == version
    assert again.returncode == 0
    assert len(load(models, version).files) == 40
    assert not list(folder(models, version).glob("*.tmp"))
    assert not list(folder(models, version).glob(".*.tmp"))


@pytest.mark.parametrize("name", files())
def test_one_changed_byte_is_noticed_and_the_file_is_named(models: Path, name: str) -> None:
    version = publish(models)
    path = folder(models, version) / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=rf"{name}.*sha256.*roll back"):
        load(models, version)


@pytest.mark.parametrize("name", files())
def test_a_truncated_file_is_noticed(models: Path, name: str) -> None:
    version = publish(models)
    path = folder(models, version) / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=rf"{name}: has .* bytes instead of"):
        load(models, version)


def test_a_missing_file_is_named(models: Path) -> None:
    version = publish(models)
    (folder(models, version) / "network.json").unlink()
    with pytest.raises(BundleError, match=r"network\.json: is missing"):
        load(models, version)


def test_a_file_and_its_hash_changed_together_are_noticed(models: Path) -> None:
    version = publish(models)
    other = publish(models, "b")
    shutil.copytree(folder(models, other), folder(models, version), dirs_exist_ok=True)
    text = json.loads((folder(models, version) / MANIFEST).read_text())
    (folder(models, version) / MANIFEST).write_text(json.dumps(text | {"version": version}))
    with pytest.raises(BundleError, match=f"its files are those of {other}"):
        load(models, version)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "file: "),
        ('{"version": ', "file: "),
        ("[]", "file: "),
        ("{}", "version: "),
        ("\0\xff", "file: "),
    ],
)
def test_a_damaged_manifest_says_where(models: Path, text: str, told: str) -> None:
    version = publish(models)
    (folder(models, version) / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(BundleError, match=rf"manifest\.json: {told}.*roll back"):
        load(models, version)


def test_a_manifest_of_a_later_layout_is_refused(models: Path) -> None:
    version = publish(models)
    path = folder(models, version) / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 3, "new": 1}))
    with pytest.raises(BundleError, match="schema_version"):
        load(models, version)


def test_a_bundle_of_another_dataset_is_refused(models: Path) -> None:
    version = publish(models)
    shutil.copytree(models / DATASET, models / "household")
    with pytest.raises(BundleError, match="belongs to motor"):
        load_bundle(str(models), "household", version)


def test_a_file_that_the_manifest_does_not_list_is_not_read(models: Path) -> None:
    version = publish(models)
    (folder(models, version) / "evil.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    assert set(load(models, version).files) == set(files())


@pytest.mark.parametrize(
    "name", ["../x.json", "/etc/x.json", "a/b.json", "a\\b.json", MANIFEST, ".x.json", "x", "x.\n"]
)
def test_file_names_stay_inside_the_bundle(models: Path, name: str) -> None:
    content = files() | {name: b"x"}
    with pytest.raises(BundleError, match="no name for a file"):
        write(models, content, bundle_version(content, UNTIL))
    assert not models.exists()


def test_a_manifest_cannot_have_a_file_read_from_elsewhere(models: Path, tmp_path: Path) -> None:
    """Not even one whose version and hashes agree with the file that it points at."""
    outside = {"../../../secret.json": b"{}"}
    (tmp_path / "secret.json").write_bytes(b"{}")
    version = bundle_version(outside, UNTIL)
    entry = {"sha256": hashlib.sha256(b"{}").hexdigest(), "bytes": 2}
    made = manifest(version, files=dict.fromkeys(outside, entry)).sealed()
    folder(models, version).mkdir(parents=True)
    (folder(models, version) / MANIFEST).write_text(made.model_dump_json())
    with pytest.raises(BundleError, match="no name for a file"):
        load(models, version)


@pytest.mark.parametrize(
    "version", ["latest", "../20240301-0123456789ab", "20240301-0123456789ab\n"]
)
def test_what_is_no_version_is_not_looked_for(models: Path, version: str) -> None:
    with pytest.raises(BundleError, match="no model version"):
        load(models, version)


def test_a_dataset_name_stays_inside_the_registry(models: Path) -> None:
    with pytest.raises(LakehouseError, match="not a name"):
        load_bundle(str(models), "../other", "20240301-0123456789ab")


def test_times_without_a_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="timezone"):
        manifest("20240301-0123456789ab", labels_as_of=datetime(2024, 1, 1))  # noqa: DTZ001


def test_versions_are_listed_in_the_order_they_were_written(models: Path) -> None:
    """Not of the end of their training, which may be one for all, nor of their labels' day."""
    late, early = datetime(2024, 6, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC)
    for days, until in ((3, late), (1, early)):
        version = bundle_version(files(), until)
        write(models, files(), version, trained_until=until)
        long_ago(models, version, days=days)
    long_ago(models, publish(models, "b", labels_as_of=early), days=2)
    (models / DATASET / "20250101-0123456789ab").mkdir()
    listed = list_versions(str(models), DATASET)
    assert [version[:8] for version in listed] == ["20240601", "20240301", "20230101"]
    assert list_versions(str(models), "nothing") == []


def test_any_store_will_do() -> None:
    models = "memory://registry/models"
    version = bundle_version(files(), UNTIL)
    try:
        write_bundle(models, DATASET, version, files(), manifest(version))
        assert load_bundle(models, DATASET, version).files == files()
        assert list_versions(models, DATASET) == [version]
    finally:
        fsspec.filesystem("memory").rm("/registry", recursive=True)


@pytest.mark.parametrize(
    "said",
    [
        {"metrics": {"average_precision": {"value": 0.99, "low": 0.98, "high": 1.0}}},
        {"gate": {"verdict": "promote", "reason": "because"}},
        {"threshold": {"value": 0.0}},
        {"digest": ""},
    ],
)
def test_a_manifest_that_says_what_was_not_published_is_refused(
    models: Path, said: dict[str, object]
) -> None:
    version = publish(models)
    path = folder(models, version) / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    with pytest.raises(
        BundleError, match=r"manifest\.json: is not the manifest that was published"
    ):
        load(models, version)
    with pytest.raises(BundleError, match="is not the manifest"):
        read_manifest(str(models), DATASET, version)
