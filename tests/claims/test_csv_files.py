"""CSV as people write it: separators, encodings, quotes, compression, and rows that are damaged."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from claims_kit import (
    claim,
    claims,
    contract,
    csv_text,
    ids,
    lakehouse,
    published,
    quarantined,
    refusal,
    take_in,
    write_csv,
)
from pydantic import ValidationError

from fraud_mlops.claims import csv_files
from fraud_mlops.errors import SourceError
from fraud_mlops.sources import CsvOptions

COLUMNS = ["claim_id", "event_time", "label", "label_time", "amount", "age", "make"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_with_any_separator(tmp_path: Path, separator: str) -> None:
    path = write_csv(tmp_path / "motor.csv", claims(5), separator=separator)
    lake = lakehouse(tmp_path)
    frame = published(lake, take_in(contract(path, source={"csv": {"separator": separator}}), lake))
    assert list(frame.columns) == COLUMNS
    assert frame["amount"].tolist() == [101.5, 102.5, 103.5, 104.5, 105.5]
    assert frame["label"].tolist() == [0, 0, 0, 0, 1]
    assert frame["make"].tolist() == ["Fiat", "Saab", "Audi", "Fiat", "Saab"]


@pytest.mark.parametrize(("name", "separator"), [("motor.tsv", "\t"), ("motor.psv", "|")])
def test_a_suffix_tells_the_separator(tmp_path: Path, name: str, separator: str) -> None:
    path = write_csv(tmp_path / name, claims(3), separator=separator)
    assert len(ids(contract(path), tmp_path)) == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_above_the_header(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "motor.csv"
    above = ['Claims of 2024; tyres of 17" are in', "", "made 2025-01-07"]
    rows = [*csv_text([claim(1), claim(2), claim(3)]).split("\n")[:3], "damaged", ""]
    path.write_bytes(end.join([*above, *rows]).encode(encoding))
    csv = {"encoding": encoding, "skip_lines": 3}
    made = contract(path, source={"csv": csv}, quality={"max_bad_share": 0.5})
    lake = lakehouse(tmp_path)
    report = take_in(made, lake)
    assert published(lake, report)["claim_id"].tolist() == ["c1", "c2"]
    assert quarantined(report)["row"].tolist() == [3]


def test_lines_above_the_header_are_told_with_what_passes_over_them(tmp_path: Path) -> None:
    path = tmp_path / "motor.csv"
    path.write_text("Claims of 2024,,,\n\n" + csv_text(claims(3)))
    told = refusal(contract(path), tmp_path)
    assert "its header, which is found at line 3. Set `source.csv.skip_lines: 2`" in told
    path.write_text("sep=;\n" + csv_text(claims(3)).replace(",", ";"))
    told = refusal(contract(path), tmp_path)
    assert "Set `source.csv`: {separator: ';', skip_lines: 1}" in told
    path.write_text("Claims of 2024\n")
    told = refusal(contract(path, source={"csv": {"skip_lines": 1}}), tmp_path)
    assert "is empty below line 1 (source.csv.skip_lines)" in told


@pytest.mark.parametrize("note", ["fraud", "x" * 200_000])
def test_a_row_is_not_taken_for_the_header_for_a_word_in_it(tmp_path: Path, note: str) -> None:
    """Nor has a field that is too long for a header anything to say."""
    rows = [{**claim(i), "outcome": note} for i in (1, 2)]
    for row in rows:
        del row["fraud"]
    assert "no column 'fraud'" in refusal(contract(write_csv(tmp_path / "m.csv", rows)), tmp_path)


def test_a_quote_above_the_header_hides_none_that_is_left_open_below(tmp_path: Path) -> None:
    path = tmp_path / "motor.csv"
    rows = csv_text(claims(9)).replace("Fiat", '"Fiat', 1)
    for above in ('tyres of 17" are in\n', 'tyres of "17" are in\n'):
        path.write_text(above + rows)
        told = refusal(contract(path, source={"csv": {"skip_lines": 1}}), tmp_path)
        assert "quote" in told


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "motor.csv"
    path.write_bytes(csv_text([claim(1, make="Škoda Größe")]).encode(encoding))
    lake = lakehouse(tmp_path)
    made = contract(path, source={"csv": {"encoding": encoding}})
    assert published(lake, take_in(made, lake))["make"].tolist() == ["Škoda Größe"]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = tmp_path / "motor.csv"
    path.write_bytes(csv_text(claims(3)).encode("utf-8-sig"))
    assert ids(contract(path), tmp_path) == ["c1", "c2", "c3"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "UTF_16BE"])
def test_a_mark_of_the_byte_order_may_stand_where_the_encoding_says_it(
    tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(("\ufeff" + csv_text(claims(3))).encode(encoding))
    assert ids(contract(path, source={"csv": {"encoding": encoding}}), tmp_path) == [
        "c1",
        "c2",
        "c3",
    ]


def test_the_wrong_encoding_is_told_with_row_and_column(tmp_path: Path) -> None:
    rows = claims(3000)
    rows[2499]["make"] = "Citroën"
    rows[7]["make"] = "two\nlines"
    path = tmp_path / "motor.csv"
    path.write_bytes(csv_text(rows).encode("cp1252"))
    told = refusal(contract(path), tmp_path)
    assert f"{path}, row 2500 (0 is the header), column 6 ('make'): byte 0xeb is not utf-8" in told
    assert "Set `source.csv.encoding`; cp1252" in told


def test_utf16_is_recognised_by_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "motor.csv"
    path.write_bytes(csv_text(claims(3)).encode("utf-16"))
    assert "utf-16 is likely" in refusal(contract(path), tmp_path)


@pytest.mark.parametrize("encoding", ["utf-32", "utf-16"])
def test_text_that_is_not_in_the_stated_encoding(tmp_path: Path, encoding: str) -> None:
    path = write_csv(tmp_path / "motor.csv", claims(4))
    assert encoding in refusal(contract(path, source={"csv": {"encoding": encoding}}), tmp_path)


def test_an_encoding_that_does_not_exist(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "motor.csv", claims(3))
    told = refusal(contract(path, source={"csv": {"encoding": "utf-88"}}), tmp_path)
    assert "no encoding 'utf-88'" in told


def test_quoted_values_may_hold_separators_quotes_and_line_ends(tmp_path: Path) -> None:
    made = ["a,b", 'a "b"', "a\nb", "a\r\nb"]
    rows = [claim(i + 1, make=m) for i, m in enumerate(made)]
    path = tmp_path / "motor.csv"
    path.write_text(csv_text(rows), encoding="utf-8", newline="")
    lake = lakehouse(tmp_path)
    assert published(lake, take_in(contract(path), lake))["make"].tolist() == made


def test_another_quote(tmp_path: Path) -> None:
    path = tmp_path / "motor.csv"
    path.write_text(
        "id,at,fraud,paid,age,make\nc1,2024-01-01,0,5,3,'A \"x\", B'\n", encoding="utf-8"
    )
    lake = lakehouse(tmp_path)
    report = take_in(contract(path, source={"csv": {"quote": "'"}}), lake)
    assert published(lake, report)["make"].tolist() == ['A "x", B']


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_blank_lines(tmp_path: Path, end: str) -> None:
    path = tmp_path / "motor.csv"
    text = csv_text(claims(4)).rstrip().replace("\nc3", "\n\nc3")
    path.write_bytes(text.replace("\n", end).encode())
    assert ids(contract(path), tmp_path) == ["c1", "c2", "c3", "c4"]


def test_decimal_commas(tmp_path: Path) -> None:
    """A point is then no decimal sign: 1.234 may mean 1234, and is not guessed at."""
    paid = ["12,5", "-0,25", "7", "1e3", "1.234", "1.234,5"]
    rows = [claim(i + 1, paid=p, age="40,5") for i, p in enumerate(paid)]
    path = write_csv(tmp_path / "motor.csv", rows, separator=";")
    made = contract(
        path,
        source={"csv": {"separator": ";", "decimal": ","}},
        quality={"max_bad_share": 0.5, "min_amount": None},
    )
    lake = lakehouse(tmp_path)
    report = take_in(made, lake)
    assert published(lake, report)["amount"].tolist() == [12.5, -0.25, 7, 1000]
    assert set(published(lake, report)["age"]) == {40.5}
    assert quarantined(report)["value"].tolist() == ["1.234", "1.234,5"]


@pytest.mark.parametrize(
    ("decimal", "thousands", "paid", "unreadable"),
    [
        (",", ".", ["1.234,5", "-1.234.567,25", "999", "12,5", "+1.000"], ["1.23", "0.123"]),
        (".", ",", ["1,234.5", "-1,234,567.25", "999", "12.5", "+1,000"], ["1,23", "12,3456"]),
        (",", " ", ["1 234,5", "-1\u00a0234\u202f567,25", "999", "12,5", "+1 000"], ["1 23"]),
        (".", "'", ["1'234.5", "-1\u2019234\u2019567.25", "999", "12.5", "+1'000"], ["1''234"]),
    ],
    ids=["German", "English", "French", "Swiss"],
)  # fmt: skip
def test_signs_between_thousands(
    tmp_path: Path, decimal: str, thousands: str, paid: list[str], unreadable: list[str]
) -> None:
    """Anywhere but between groups of three they are a mistake, and nothing is guessed."""
    rows = [claim(i + 1, paid=p, age=p) for i, p in enumerate(paid)]
    rows += [claim(len(paid) + i + 1, paid=p) for i, p in enumerate(unreadable)]
    made = contract(
        write_csv(tmp_path / "motor.csv", rows, separator=";"),
        source={"csv": {"separator": ";", "decimal": decimal, "thousands": thousands}},
        quality={"max_bad_share": 0.5, "min_amount": None},
    )
    lake = lakehouse(tmp_path)
    report = take_in(made, lake)
    read = [1234.5, -1234567.25, 999, 12.5, 1000]
    assert published(lake, report)["amount"].tolist() == read
    assert published(lake, report)["age"].tolist() == read
    assert quarantined(report)["value"].tolist() == unreadable


def test_one_sign_is_not_both_of_a_number() -> None:
    with pytest.raises(ValidationError, match="decimal and thousands are both ','"):
        CsvOptions(decimal=",", thousands=",")


def test_a_zip_of_one_file_is_read_and_of_several_refused(tmp_path: Path) -> None:
    path = tmp_path / "motor.csv.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("motor.csv", csv_text(claims(4)))
    assert ids(contract(path), tmp_path) == ["c1", "c2", "c3", "c4"]
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr("more.csv", csv_text(claims(2)))
    with pytest.raises(SourceError, match="holds 2 files, of which one would be read"):
        ids(contract(path), tmp_path)


def test_a_zip_made_on_a_mac_holds_one_file_and_tells_what(tmp_path: Path) -> None:
    """Beside it lie the attributes that the file has there. `claims.zip` does not say what it has:
    its member does, with the separator."""
    path = tmp_path / "claims.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("motor/motor.tsv", csv_text(claims(3), separator="\t"))
        packed.writestr("__MACOSX/motor/._motor.tsv", "attributes")
        packed.writestr("motor/.DS_Store", "places")
    assert ids(contract(path), tmp_path) == ["c1", "c2", "c3"]
    assert ids(contract(path, claim_id=None, ignore=["id"]), tmp_path)[0] == "claims-1"


def test_a_packed_parquet_is_told(tmp_path: Path) -> None:
    path = tmp_path / "claims.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("motor.parquet", b"PAR1...PAR1")
    assert "is packed, and Parquet is read as it is: unpack it" in refusal(contract(path), tmp_path)


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_csv(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(csv_text(claims(700)).encode())
    path = tmp_path / f"motor.csv{suffix}"
    path.write_bytes(packed)
    assert len(ids(contract(path), tmp_path)) == 700

    path.write_bytes(packed[: len(packed) // 2])
    assert f"{path}: cannot be read as CSV" in refusal(contract(path), tmp_path)
    path.write_bytes(b"not packed at all")
    assert f"{path}: cannot be read as CSV" in refusal(contract(path), tmp_path)


def test_a_row_with_too_few_or_too_many_fields_goes_to_quarantine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are numbered as records, whatever lines and blocks they take."""
    monkeypatch.setattr(csv_files, "_BLOCK", 300)
    lines = csv_text([claim(i, make="x\ny" if i == 3 else "x") for i in range(1, 101)])
    records = lines.replace("\nc10,", "\n\nshort\nc10,").replace("\nc60,", "\na,b,c,d,e,f,g\nc60,")
    path = tmp_path / "motor.csv"
    path.write_text(records + "c101,2024-12-31", encoding="utf-8")
    lake = lakehouse(tmp_path)
    report = take_in(contract(path), lake)
    assert (report.read, report.kept) == (103, 100)
    bad = quarantined(report)
    assert bad["row"].tolist() == [10, 61, 103]
    assert set(bad["reason"]) == {"unreadable_row"}
    assert bad["value"].tolist() == [
        "1 fields where there are 6 columns",
        "7 fields where there are 6 columns",
        "2 fields where there are 6 columns",
    ]
    assert "a,b,c,d,e,f,g" in bad["record"][1]


def test_a_quote_left_open_does_not_swallow_the_rest(tmp_path: Path) -> None:
    text = csv_text(claims(50)).replace("Saab\nc30", '"Saab\nc30')
    path = tmp_path / "motor.csv"
    path.write_text(text, encoding="utf-8")
    assert 'row 29 (0 is the header): a quote " is left open' in refusal(contract(path), tmp_path)


def test_a_quote_within_a_value_is_a_letter(tmp_path: Path) -> None:
    path = tmp_path / "motor.csv"
    path.write_text(csv_text(claims(5)).replace("Audi", '5" pipe'), encoding="utf-8")
    lake = lakehouse(tmp_path)
    assert '5" pipe' in set(published(lake, take_in(contract(path), lake))["make"])


def test_a_wrong_separator_is_guessed_for_the_message(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "motor.csv", claims(3), separator=";")
    told = refusal(contract(path), tmp_path)
    assert "only one column was found with separator ','" in told
    assert "looks separated by ';': set `source.csv.separator`" in told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty; a CSV starts with a row of column names"),
        (b"\n\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"id,at,fraud,paid,age,make\n", "has column names but no row under them"),
        (b"id,at,fraud,paid,age,make", "has column names but no row under them"),
        (b"id,at,fraud,paid,age,make\n\n\n", "has column names but no row under them"),
    ],
)
def test_an_empty_csv(tmp_path: Path, content: bytes, told: str) -> None:
    (path := tmp_path / "motor.csv").write_bytes(content)
    assert f"{path}: {told}" in refusal(contract(path), tmp_path)
