"""Names of secrets: what is read elsewhere finds all that each place has ever found."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_metaflow.backends.secret_names import of_field, of_option, of_variable

# As the three places had it, each for itself.
SETTINGS = re.compile(
    "TOKEN|KEY|CONNECTION_STRING|PASSWORD|PASSPHRASE|SECRET|SAS|HEADERS|CREDENTIAL|NOTIFY"
)
REFUSED = re.compile(
    r"(pass(word|wd|phrase)?|pwd|secret|token|credentials?|authorization|connection[-_.]?string"
    r"|(api|access|account|auth|client|encryption|master|private|secret|shared|signing|storage)"
    r"[-_.]?key|(^|[-_.])(auth|sas|sig|signature))$",
    re.IGNORECASE,
)
MASKING = re.compile("key|secret|pass|pwd|sig|sas|token|auth(orization)?$", re.IGNORECASE)
PLAIN = re.compile("(id|name|type|ur[il]|endpoint)s?$", re.IGNORECASE)

WORDS = re.split(
    r"\s+",
    "pass password passwd passphrase pwd secret token credential credentials auth authorization "
    "sas sig signature key api access account client private connection string headers notify "
    "uri url id name type endpoint azure db join design",
)
NAMES = st.lists(
    st.sampled_from([*WORDS, *map(str.upper, WORDS), *map(str.title, WORDS), *"_-.s"]), max_size=6
).map("".join)


@given(NAMES)
def test_no_name_is_passed_over_that_was_found_before(name: str) -> None:
    assert of_option(name) or not REFUSED.search(name)
    assert of_variable(name) or not (SETTINGS.search(name) or REFUSED.search(name))
    assert of_field(name) or not (not name or (MASKING.search(name) and not PLAIN.search(name)))


@pytest.mark.parametrize(
    ("name", "option", "variable", "field"),
    [
        ("api-token", True, True, True),
        ("storage_connection_string", True, True, True),
        ("join-key", False, True, True),
        ("design", False, False, True),
        ("token_uri", False, True, False),
        ("region", False, False, False),
        ("azure_credentials", True, True, True),
    ],
)
def test_what_a_name_is_called_so_for(name: str, option: bool, variable: bool, field: bool) -> None:
    assert (of_option(name), of_variable(name), of_field(name)) == (option, variable, field)
    assert of_variable(name.upper()) == variable
