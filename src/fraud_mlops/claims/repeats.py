"""Claims that come more than once in a source: which record stays, and what later ones add.

In SQL on the view `staged`, whose columns c0, c1, ... are those of the canonical schema; out of
core, since every claim may come again with its label.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fraud_mlops.contract import CLAIM_ID, LABEL, LABEL_TIME

POSITION = "position"
OTHER = "other"
TOLD = "told"
HELD = "held"
"""Columns of `staged` beside the claim's own: where a record stands in the source, whether it is
only there to say that its id is taken, its label as the source has it, known yet or not, and
whether that is held back until its time; `claims` has the last."""

_APART = (CLAIM_ID, LABEL, LABEL_TIME)
"""In these a later record may differ from the claim, or cannot."""


class Repeats(NamedTuple):
    """Later records of claims that are there already.

    positions: int64 [n], rising, of those that are not taken. unlike: int16 [n], place of the first
    canonical column in which each contradicts the claim, the label's where nothing else does; -1
    where it says nothing new. labels: records that were taken for the label that they add.
    """

    positions: npt.NDArray[np.int64]
    unlike: npt.NDArray[np.int16]
    labels: int


def settle(connection: Any, schema: pa.Schema, settled: Path) -> Repeats:
    """Finds them; where there are any, the view `claims` becomes the first record of each claim.

    With the label that a later record adds: one that has a label where the claim has none, and is
    equal in all other columns. A blank that stands for a label is none until then. `settled` is
    then the file that holds the claims.
    """
    claim = f"c{schema.get_field_index(CLAIM_ID)}"
    connection.execute(f"""
        CREATE TEMP TABLE again AS
        WITH twice AS (
            SELECT {claim}, min({POSITION}) AS first
            FROM staged GROUP BY {claim} HAVING count(*) > 1
        )
        SELECT {POSITION}, first FROM staged JOIN twice USING ({claim})
        WHERE {POSITION} > first AND NOT {OTHER}
    """)
    if not connection.execute("SELECT count(*) FROM again").fetchone()[0]:
        return Repeats(np.empty(0, np.int64), np.empty(0, np.int16), 0)
    _compare(connection, schema)
    found = _rejected(connection, schema)
    _write(connection, schema, settled)
    for table in ("again", "compared", "added"):
        connection.execute(f"DROP TABLE {table}")
    return found


def _compare(connection: Any, schema: pa.Schema) -> None:
    """Whole rows are only joined where their hashes differ. Of records that add a label, the first
    one counts."""
    label, label_time = (f"c{schema.get_field_index(name)}" for name in (LABEL, LABEL_TIME))
    own = [f"c{i}" for i, name in enumerate(schema.names) if name not in _APART]
    differences = " ".join(f"WHEN r.{c} IS DISTINCT FROM f.{c} THEN {c[1:]}" for c in own)
    connection.execute(f"""
        CREATE TEMP TABLE compared AS
        WITH records AS (
            SELECT {POSITION}, {label}, {label_time}, {TOLD}, {HELD},
                hash({", ".join(own)}) AS content
            FROM staged
        )
        SELECT r.* EXCLUDE content, again.first, f.{TOLD} AS had,
            CASE WHEN r.content <> f.content THEN 0 ELSE -1 END AS unlike
        FROM again
        JOIN records r ON r.{POSITION} = again.{POSITION}
        JOIN records f ON f.{POSITION} = again.first;
        UPDATE compared SET unlike = CASE {differences} ELSE -1 END
        FROM staged r, staged f
        WHERE compared.unlike = 0
            AND r.{POSITION} = compared.{POSITION} AND f.{POSITION} = compared.first;
        CREATE TEMP TABLE added AS
        SELECT compared.* FROM compared JOIN (
            SELECT min({POSITION}) AS {POSITION} FROM compared
            WHERE unlike < 0 AND had IS NULL AND {TOLD} IS NOT NULL GROUP BY first
        ) USING ({POSITION})
    """)


def _rejected(connection: Any, schema: pa.Schema) -> Repeats:
    label = schema.get_field_index(LABEL)
    found = connection.execute(f"""
        SELECT c.{POSITION}, CASE WHEN c.unlike >= 0 THEN c.unlike
            WHEN c.{TOLD} <> coalesce(c.had, added.{TOLD}) THEN {label}
            ELSE -1 END::SMALLINT AS unlike
        FROM compared c LEFT JOIN added USING (first)
        WHERE c.{POSITION} IS DISTINCT FROM added.{POSITION} ORDER BY 1
    """).fetchnumpy()
    (labels,) = connection.execute("SELECT count(*) FROM added").fetchone()
    return Repeats(np.asarray(found[POSITION]), np.asarray(found["unlike"]), labels)


def _write(connection: Any, schema: pa.Schema, settled: Path) -> None:
    """A file, since a join that is worked out anew with every look at the claims takes memory."""
    label, label_time = (f"c{schema.get_field_index(name)}" for name in (LABEL, LABEL_TIME))
    path = str(settled).replace("'", "''")
    connection.execute(f"""
        COPY (
            SELECT s.* EXCLUDE ({POSITION}, {OTHER}, {TOLD}) REPLACE (
                coalesce(added.{label}, s.{label}) AS {label},
                coalesce(added.{label_time}, s.{label_time}) AS {label_time},
                s.{HELD} OR coalesce(added.{HELD}, false) AS {HELD}
            )
            FROM staged s LEFT JOIN added ON added.first = s.{POSITION}
            ANTI JOIN again ON again.{POSITION} = s.{POSITION}
            WHERE NOT s.{OTHER}
        ) TO '{path}' (FORMAT parquet, COMPRESSION lz4, ROW_GROUP_SIZE 32768);
        CREATE OR REPLACE TEMP VIEW claims AS FROM read_parquet('{path}')
    """)
