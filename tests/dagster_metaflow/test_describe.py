"""What Dagster's side learns of a flow without loading it, and how its assets look."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_metaflow import MetaflowFlow, MetaflowTranslator, metaflow_assets
from dagster_metaflow.parameters import FlowParameter, to_arguments

FLOW = """
import datetime
from metaflow import Config, FlowSpec, IncludeFile, JSONType, Parameter, batch, card, step

print("what a flow's file prints is not its description")


def today(context):
    return datetime.date.today().isoformat()


class SmallFlow(FlowSpec):
    '''Does little.

    And says so.'''

    rows = Parameter("rows", default=10, help="How many rows.")
    learning_rate = Parameter("learning-rate", default=0.1)
    shuffle = Parameter("shuffle", default=True)
    name_of_it = Parameter("name-of-it", type=str, required=True)
    layers = Parameter("layers", type=JSONType, default='[1, 2]')
    columns = Parameter("columns", separator=",", default="a,b")
    day = Parameter("day", default=today, type=str)
    settings = Config("settings", default_value={"a": 1})

    @card(id="data")
    @step
    def start(self):
        '''Begins.'''
        self.parts = [1, 2]
        self.next(self.left, self.right)

    @batch(queue="large", memory=64000)
    @step
    def left(self):
        self.next(self.fan, foreach="parts")

    @step
    def fan(self):
        self.next(self.gather)

    @step
    def gather(self, inputs):
        self.next(self.join)

    @step
    def right(self):
        self.next(self.join)

    @card
    @card(type="blank", id="last")
    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    SmallFlow()
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dagster-metaflow"


@pytest.fixture
def place(tmp_path: Path, cache: Path) -> Path:
    folder = tmp_path / "flows"
    folder.mkdir()
    made = folder / "small_flow.py"
    made.write_text(FLOW)
    return made


def test_a_flow_is_described_without_being_loaded(place: Path) -> None:
    flow = MetaflowFlow(place)
    assert flow.name == "SmallFlow"
    assert flow.description.description == "Does little.\n\nAnd says so."
    assert "small_flow" not in sys.modules


def test_its_steps_come_in_order_with_their_fan_outs_and_cards(place: Path) -> None:
    steps = {step.name: step for step in MetaflowFlow(place).description.steps}
    assert list(steps) == ["start", "left", "right", "fan", "gather", "join", "end"]
    assert steps["start"].description == "Begins."
    assert steps["left"].foreach == "parts"
    assert steps["start"].cards == ("data",)
    assert sorted(steps["join"].cards) == ["default", "last"]


def test_queues_of_batch_are_those_that_steps_have_for_themselves(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAFLOW_BATCH_JOB_QUEUE", "of-all")
    place.write_text(FLOW.replace("    @step\n    def fan", "    @batch\n    @step\n    def fan"))
    assert MetaflowFlow(place).queues == ("large",)


def test_a_flow_of_a_project_is_told_from_others_also_by_what_it_is_made_from(place: Path) -> None:
    assert not MetaflowFlow(place).description.is_of_a_project
    base = "@project(name='team')\nclass Base(FlowSpec):\n    pass\n\n\n"
    place.with_name("base.py").write_text(f"from metaflow import FlowSpec, project\n\n{base}")
    made = "from base import Base\nclass SmallFlow(Base)"
    place.write_text(FLOW.replace("class SmallFlow(FlowSpec)", made))
    assert MetaflowFlow(place).description.is_of_a_project


def test_its_parameters_have_types_defaults_and_words(place: Path) -> None:
    found = MetaflowFlow(place).parameters
    assert set(found) == {
        "rows", "learning_rate", "shuffle", "name_of_it", "layers", "columns", "day",
    }  # fmt: skip
    assert (found["rows"].type, found["rows"].default, found["rows"].help) == (
        "int", 10, "How many rows.",
    )  # fmt: skip
    assert found["learning_rate"].option == "learning-rate"
    assert found["name_of_it"].required
    assert found["columns"].separator == ","
    assert found["day"].default is None
    assert not found["day"].required


def test_they_are_typed_run_config_but_for_those_settled_elsewhere(place: Path) -> None:
    schema = MetaflowFlow(place, fixed={"shuffle": False}).config_schema
    assert "shuffle" not in schema
    assert schema["rows"].default_value == 10
    assert schema["name_of_it"].is_required
    assert schema["day"].config_type.key == "Noneable.String"
    assert not schema["day"].is_required
    assert schema["rows"].description == "How many rows."


def test_a_parameter_that_the_flow_does_not_have_is_told_with_those_it_has(place: Path) -> None:
    flow = MetaflowFlow(place, fixed={"row": 1})
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="no parameter row; it has columns"):
        _ = flow.config_schema
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="no parameter rowz"):
        flow.options({"rowz": 1})


def test_values_become_options_and_none_is_left_to_the_flow(place: Path) -> None:
    options = MetaflowFlow(place).options({"learning_rate": 0.5, "rows": None})
    assert options == {"learning-rate": 0.5}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "--x=3"),
        (0.1, "--x=0.1"),
        (True, "--x=true"),
        ("a b", "--x=a b"),
        ("-1", "--x=-1"),
        (["a", "b"], "--x=a,b"),
        ({"b": 1, "a": [2]}, '--x={"a": [2], "b": 1}'),
    ],
)
def test_values_on_the_command_line(value: Any, text: str) -> None:
    assert to_arguments({"x": value, "left_out": None}) == [text]


def test_a_list_is_a_list_of_texts_in_run_config() -> None:
    field = FlowParameter(name="x", option="x", type="str", separator=",").to_field()
    assert field.config_type.key == "Noneable.Array.String"


@pytest.mark.parametrize(
    ("parameter", "default"),
    [
        ({"type": "float", "default": 1}, 1.0),
        ({"type": "str", "separator": "|", "default": "a|b"}, ["a", "b"]),
        ({"type": "str", "separator": ",", "default": ["a", "b"]}, ["a", "b"]),
    ],
)
def test_a_default_is_that_of_run_config_too(parameter: dict[str, Any], default: Any) -> None:
    field = FlowParameter(name="x", option="x", **parameter).to_field()
    assert field.default_value == default
    assert type(field.default_value) is type(default)


def test_a_list_is_given_with_the_flows_own_separator(place: Path) -> None:
    place.write_text(FLOW.replace('separator=","', 'separator="|"').replace("a,b", "a|b"))
    assert MetaflowFlow(place).options({"columns": ["c", "d,e"]}) == {"columns": "c|d,e"}


def test_assets_that_a_flow_could_not_tell_apart_are_refused() -> None:
    toy = MetaflowFlow(Path(__file__).parent / "toy" / "toy_flow.py")
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="two assets end in numbers"):
        metaflow_assets(flow=toy, assets=[dg.AssetSpec(["a", "numbers"]), dg.AssetSpec("numbers")])
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="at least one asset"):
        metaflow_assets(flow=toy, assets=[])


# --- once, and again when it changes -----------------------------------------------------------


def test_a_flow_is_asked_once(place: Path, cache: Path) -> None:
    _ = MetaflowFlow(place).description
    (kept,) = cache.iterdir()
    kept.write_text(kept.read_text().replace("SmallFlow", "KeptFlow"))
    assert MetaflowFlow(place).name == "KeptFlow"


def test_a_flow_that_has_changed_is_asked_again(place: Path) -> None:
    assert "shuffle" in MetaflowFlow(place).parameters
    place.write_text(FLOW.replace('"shuffle"', '"mix"').replace("shuffle =", "mix ="))
    assert "mix" in MetaflowFlow(place).parameters


def test_a_cache_that_cannot_be_used_is_done_without(place: Path, cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    assert MetaflowFlow(place).name == "SmallFlow"


def test_the_code_version_covers_the_flows_folder_and_the_code_it_names(
    place: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "part.py").write_text("x = 1\n")
    before = MetaflowFlow(place, code=[library]).code_version
    assert MetaflowFlow(place, code=[library]).code_version == before
    (library / "notes.txt").write_text("no code")
    assert MetaflowFlow(place, code=[library]).code_version == before
    (library / "part.py").write_text("x = 2\n")
    changed = MetaflowFlow(place, code=[library]).code_version
    assert changed != before
    (place.parent / "helper.py").write_text("y = 1\n")
    assert MetaflowFlow(place, code=[library]).code_version != changed


def test_what_a_run_is_given_changes_assets_and_what_is_packed_the_deployment(
    place: Path, tmp_path: Path
) -> None:
    given, packed = tmp_path / "given.yaml", tmp_path / "packed.yaml"
    versions = set()
    for inputs, other in (("a", "x"), ("b", "x"), ("b", "y")):
        given.write_text(inputs)
        packed.write_text(other)
        flow = MetaflowFlow(place, inputs=[given], packed=[packed])
        versions.add(("assets", flow.code_version))
        versions.add(("deployed", flow.deployed_version))
    assert sorted(kind for kind, _ in versions) == ["assets"] * 2 + ["deployed"] * 2


def test_an_editors_lock_file_is_no_code(place: Path) -> None:
    before = MetaflowFlow(place).code_version
    (place.parent / ".#small_flow.py").symlink_to("me@host.1234:1700000000")
    (place.parent / "folder.py").mkdir()
    assert MetaflowFlow(place).code_version == before


# --- what is no flow ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n", "holds 0 flows; a flow file holds one"),
        (FLOW + textwrap.dedent("class Other(SmallFlow): ..."), "holds 2 flows"),
        ("import no_such_library\n", "No module named 'no_such_library'"),
        ("def broken(:\n", "SyntaxError"),
    ],
)
def test_what_is_no_flow_is_told(place: Path, text: str, words: str) -> None:
    place.write_text(text)
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="cannot be loaded") as caught:
        _ = MetaflowFlow(place).description
    assert words in str(caught.value)
    assert f"See for yourself: {sys.executable} {place} show" in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="there is no such flow file"):
        _ = MetaflowFlow(tmp_path / "nowhere.py").description


def test_a_python_that_is_not_there_is_told(place: Path) -> None:
    python = os.fspath(place.parent / "no-python")
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="cannot be looked at"):
        _ = MetaflowFlow(place, python=python).description


# --- as assets ---------------------------------------------------------------------------------


def test_a_name_becomes_a_whole_spec(place: Path) -> None:
    flow = MetaflowFlow(place)
    spec = MetaflowTranslator().get_asset_spec(flow, "model")
    assert spec.key == dg.AssetKey("model")
    assert spec.kinds == {"metaflow"}
    assert spec.code_version == flow.code_version
    assert str(spec.description).startswith("Does little.")
    assert "SmallFlow: start → " in str(spec.description)
    assert spec.metadata["flow"] == "SmallFlow"
    assert spec.metadata["flow_file"] == dg.MetadataValue.path(str(place))


def test_what_a_spec_says_itself_is_kept(place: Path) -> None:
    given = dg.AssetSpec(
        ["a", "model"], description="Mine.", code_version="7", kinds={"torch"}, owners=["team:x"]
    )
    spec = MetaflowTranslator().get_asset_spec(MetaflowFlow(place), given)
    assert (spec.key, spec.description, spec.code_version) == (given.key, "Mine.", "7")
    assert spec.kinds == {"torch", "metaflow"}
    assert spec.owners == ["team:x"]


def test_a_translator_of_ones_own_names_and_groups(place: Path) -> None:
    class Mine(MetaflowTranslator):
        def get_asset_key(self, flow: MetaflowFlow, name: str) -> dg.AssetKey:
            return dg.AssetKey([flow.name.lower(), name])

        def get_group_name(self, flow: MetaflowFlow) -> str:  # noqa: ARG002
            return "models"

    spec = Mine().get_asset_spec(MetaflowFlow(place), "model")
    assert spec.key == dg.AssetKey(["smallflow", "model"])
    assert spec.group_name == "models"
