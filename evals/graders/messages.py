"""What a grading process is asked and answers, each one line of JSON."""

from __future__ import annotations

from typing import TypedDict


class GradeRequest(TypedDict, total=False):
    """Either response and longest (the box is asked for, cut to that length), or a comparison. seconds: its limit."""

    response: str
    longest: int
    kind: str
    meta: dict[str, object]
    gold: str
    predicted: str
    by_text: bool
    seconds: float


class GradeReply(TypedDict, total=False):
    """{"box": the last box of the response, or None, "length": its length}; or {"equal": bool, "reason": why it could
    not be told, or None}; or {"ungraded": why nobody knows}; or {"missing": what a comparison needs and is not
    installed}. spent: seconds of processor time."""

    box: str | None
    length: int
    equal: bool
    reason: str | None
    ungraded: str
    missing: str
    spent: float
