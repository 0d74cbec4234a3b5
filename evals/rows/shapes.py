"""What the numbers in a run's files may be, and how a file of another shape is told of."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError

Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Place = Annotated[int, Field(ge=0, lt=10**6)]  # a report on pocket makes every problem up to the last one's place again
Number = Annotated[float, Field(ge=-1e100, le=1e100)]  # squares of sums of them are finite
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def first_fault(error: ValidationError) -> str:
    """The first thing that a validation found: "field: what is wanted", short however deep the field lies."""
    found = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, found["loc"]))
    return f"{where if len(where) <= 60 else where[:60] + '…'}: {found['msg'][0].lower()}{found['msg'][1:]}"
