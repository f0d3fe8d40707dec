"""A Spark session wherever the run is, with this library on the path of its tasks."""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import fraud_mlops
from fraud_mlops.errors import SettingsError
from fraud_mlops.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LEAST_JAVA = 17
_ATTEMPTS = 4  # of a task; local mode gives up after one unless told
_WHOLE_YEAR = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file knows


@contextmanager
def spark_session() -> Iterator[SparkSession]:
    """The session there is, or one of our own, which ends with the block.

    Raises SettingsError where PySpark or Java is missing.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise SettingsError(
            "the Spark engine needs PySpark: pip install 'fraud-mlops[spark]'; or leave Spark out: "
            "--engine local"
        ) from None
    with warnings.catch_warnings():
        # Nothing but Arrow passes between Spark and our tasks.
        pandas = "PySpark does not yet fully support pandas"
        warnings.filterwarnings("ignore", message=pandas, category=FutureWarning)
        there = SparkSession.getActiveSession()
        spark = there or _started()
        try:
            spark.addArtifacts(str(_shipped()), pyfile=True)  # nothing new where it is already
            yield spark
        finally:
            if there is None and not _on_databricks():
                spark.stop()


def _started() -> SparkSession:
    if _on_databricks():
        return _of_databricks()
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("fraud-mlops")
    place = settings().spark_master
    if place is None and "SPARK_REMOTE" in os.environ:
        return builder.getOrCreate()
    if place is not None and place.startswith("sc://"):
        return builder.remote(place).getOrCreate()
    require_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    place = place or f"local[{settings().threads},{_ATTEMPTS}]"
    if place.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")  # else it asks for its own name
    for name, value in _configuration(place).items():
        builder = builder.config(name, value)
    return builder.master(place).getOrCreate()


def _configuration(place: str) -> dict[str, str]:
    told = {"spark.sql.session.timeZone": "UTC", "spark.ui.showConsoleProgress": "false"}
    if place.startswith("local"):
        told |= {
            "spark.driver.memory": _java_memory(settings().memory_limit),
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.log.level": "ERROR",
        }
    return told


def _java_memory(limit: str) -> str:
    """`4GB` as Java has it: `4096m`."""
    amount, unit = re.fullmatch(r"([\d.]+)\s?([KMGT])i?B", limit).groups()  # type: ignore[union-attr]
    megabytes = float(amount) * {"K": 2**-10, "M": 1, "G": 2**10, "T": 2**20}[unit]
    return f"{max(512, int(megabytes))}m"


def _on_databricks() -> bool:
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


def _of_databricks() -> SparkSession:
    """Spark Connect where there is nothing else (serverless), the cluster's own session else."""
    from pyspark.sql import SparkSession

    try:
        from databricks.connect import DatabricksSession
    except ImportError:
        return SparkSession.builder.getOrCreate()
    session: SparkSession = DatabricksSession.builder.getOrCreate()
    return session


def require_java() -> None:
    """Raises SettingsError where Spark would find no Java that it can run on."""
    home = os.environ.get("JAVA_HOME")
    java = Path(home) / "bin" / "java" if home else shutil.which("java")
    mend = (
        f"Spark on this machine needs Java {_LEAST_JAVA} or newer: apt-get install "
        "default-jre-headless (brew install openjdk), or set JAVA_HOME; or --engine local"
    )
    if java is None or not Path(java).is_file():
        where = f"there is none in JAVA_HOME={home}" if home else "there is none"
        raise SettingsError(f"{mend}. {where[0].upper()}{where[1:]}.")
    found = re.search(r'version "(\d+)', _said_of_itself(java))
    if found is None or int(found[1]) < _LEAST_JAVA:
        version = f"is version {found[1]}" if found else "does not say its version"
        raise SettingsError(f"{mend}. {java} {version}.")


def _said_of_itself(java: str | Path) -> str:
    """Nothing from a Java that does not answer, or cannot be started."""
    command = [java, "-version"]  # Java that Spark would run
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - see above
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stderr + told.stdout


@lru_cache(maxsize=1)
def _shipped() -> Path:
    """Kept until this process ends: an executor that joins later asks for it then."""
    folder = Path(tempfile.mkdtemp(prefix="spark-code-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return code_archive(folder)


def code_archive(folder: Path) -> Path:
    """This library as a zip file, named for its content: the same code, the same name."""
    root = Path(fraud_mlops.__file__).parent
    sources = {p.relative_to(root.parent).as_posix(): p for p in sorted(root.rglob("*.py"))}
    digest = hashlib.sha256()
    for name, path in sources.items():
        digest.update(name.encode() + b"\0" + path.read_bytes())
    made = folder / f"fraud_mlops-{digest.hexdigest()[:16]}.zip"
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sources.items():
            archive.writestr(zipfile.ZipInfo(name, _WHOLE_YEAR), path.read_bytes())
    return made
