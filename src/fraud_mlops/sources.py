"""Where a contract's claims come from: files, and how they are written, or the generator."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from fraud_mlops.fields import Address, Instant, Part, Share, Sign, Text


class CsvOptions(Part):
    separator: Sign = ","
    encoding: str = "utf-8"
    quote: Sign = '"'
    decimal: Sign = "."
    # Left out where there is none: what was written before still means the same.
    thousands: Literal[".", ",", " ", "'"] | None = Field(None, exclude_if=lambda v: v is None)
    skip_lines: NonNegativeInt = Field(0, exclude_if=lambda v: not v)
    """Lines above the header."""
    null_values: tuple[Text, ...] = ("", "NA", "N/A", "NULL", "null", "NaN", "nan")

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.thousands == self.decimal:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        return self


class FileSource(Part):
    """Claims in files: one file, a folder, a glob, any fsspec URI."""

    kind: Literal["file"] = "file"
    uri: Address
    same_as: tuple[Address, ...] = ()
    """Where the same files were before, or are for other machines."""
    format: Literal["csv", "parquet"] | None = None
    csv: CsvOptions = CsvOptions()


class SyntheticSource(Part):
    """Claims made by the generator (`fraud_mlops.synthetic`)."""

    kind: Literal["synthetic"]
    claims: PositiveInt = 20_000
    seed: Annotated[int, Field(ge=0)] = 20240101
    start: Instant
    end: Instant
    fraud_rate: Share = 0.06
    drift_from: Instant | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"end {self.end} must come after start {self.start}")
        return self
