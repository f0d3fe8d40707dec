"""docs/settings.md and the settings say the same, and the settings do what the page says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from fraud_mlops import machine
from fraud_mlops.errors import SettingsError
from fraud_mlops.settings import TRAVELLING, Settings, settings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "settings.md"
HEADER = "| variable | default | what for |\n|---|---|---|\n"


@pytest.fixture
def fresh_settings():
    settings.cache_clear()
    yield settings
    settings.cache_clear()


def row(field: FieldInfo) -> str:
    if field.default_factory is not None:
        default = "this machine's"
    else:
        default = "" if field.default is None else f"`{field.default}`"
    return f"| `{field.alias}` | {default} | {field.description} |"


def test_the_page_lists_every_variable_with_its_default_and_meaning() -> None:
    expected = HEADER + "\n".join(map(row, Settings.model_fields.values())) + "\n"
    assert expected in PAGE.read_text(), f"docs/settings.md should have:\n\n{expected}"


def test_every_setting_says_what_it_is_for() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert re.fullmatch(r"[A-Z][A-Z_]+", field.alias or ""), name


def test_what_travels_is_a_setting_and_no_secret() -> None:
    fields = {field.alias: field for field in Settings.model_fields.values()}
    assert set(TRAVELLING) <= fields.keys()
    assert not [name for name in TRAVELLING if "Secret" in str(fields[name].annotation)]


def test_duckdb_leaves_half_of_a_small_container_to_everything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_settings
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_LIMITS", (tmp_path / "of-v1", limit))
    monkeypatch.delenv("FRAUD_MEMORY_LIMIT", raising=False)
    limit.write_text("max\n")
    assert machine.memory() > 1 << 30
    limit.write_text(f"{4096 << 20}\n")
    assert fresh_settings().memory_limit == "2147MB"


def test_no_module_reads_a_variable_of_the_projects_past_the_settings() -> None:
    """A variable that is read on the side is in no table and is checked by nobody."""
    ours = {field.alias for field in Settings.model_fields.values()}
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "flows").glob("*.py")]:
        if path.name == "settings.py":
            continue
        text = path.read_text()
        if "environ" not in text and "getenv" not in text:
            continue
        named = {n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant)}
        assert not named & ours, f"{path.relative_to(ROOT)}: take it from settings()"


def test_wrong_variables_are_told_all_at_once_and_no_token_is_shown(
    monkeypatch: pytest.MonkeyPatch, fresh_settings
) -> None:
    monkeypatch.setenv("FRAUD_THREADS", "many")
    monkeypatch.setenv("FRAUD_DEVICE", "abacus")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sig=secret")
    with pytest.raises(SettingsError) as told:
        fresh_settings()
    assert "FRAUD_THREADS='many'" in str(told.value)
    assert "FRAUD_DEVICE='abacus'" in str(told.value)
    assert "secret" not in str(told.value)


def test_a_token_is_not_shown_by_accident(monkeypatch: pytest.MonkeyPatch, fresh_settings) -> None:
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sig=secret")
    found = fresh_settings()
    assert "secret" not in repr(found) + str(found) + found.model_dump_json()
    assert found.azure_storage_sas_token.get_secret_value() == "sig=secret"


def test_a_container_that_may_use_one_core_gets_one_thread(
    monkeypatch: pytest.MonkeyPatch, fresh_settings
) -> None:
    monkeypatch.delenv("FRAUD_THREADS", raising=False)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # what stands for a container's share here
    assert fresh_settings().threads == 1
