"""Where the problems come from: the command line, files of JSON lines, standard input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from gsi_node.errors import ConfigError, shown
from gsi_node.host.strict_json import parsed
from gsi_node.types import default_id

SAMPLE_PROBLEMS = (
    "What is 12 * (7 + 5)?",
    "Solve for x: 3x + 5 = 20.",
    "Ben has 9 boxes with 19 cards in each box. Ben gives away 57 cards. How many cards does Ben have left?",
)


@dataclass(frozen=True, slots=True)
class MathProblem:
    """A problem and the id that names its random streams.

    asked: as it was typed, where it is read as `text`. refusal: why it is not solved; None: it is.
    """

    text: str
    problem_id: str
    asked: str | None = None
    refusal: str | None = None


def gather(problems: Sequence[str], files: Sequence[str], stdin: TextIO) -> list[MathProblem]:
    """Every problem, in the order given; the samples where none is. Raises ConfigError naming the place: argument, or
    file and line."""
    problems = problems or (() if files else SAMPLE_PROBLEMS)
    found: list[MathProblem] = []
    for i, text in enumerate(problems, 1):
        if text == "-":
            found += _plain_or_json(stdin)
        else:
            found.append(_problem(text, None, f"problem {i}"))
    for name in files:
        found += _plain_or_json(stdin) if name == "-" else _json_lines(name)
    if not found:
        named = ("standard input" if name == "-" else name for name in (*problems, *files))
        raise ConfigError(f"no problem in {' and '.join(named)}")
    return found


def _json_lines(name: str) -> Iterator[MathProblem]:
    try:
        with open(name, encoding="utf-8-sig", newline="\n") as lines:  # JSON lines end there, and nowhere else
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _from_object(line, f"{name}, line {number}")
    except OSError as error:
        raise ConfigError(f"--file {name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--file {name}: not UTF-8 text (byte {error.start})") from error


def _plain_or_json(stdin: TextIO) -> Iterator[MathProblem]:
    """One problem a line, as it stands; a line that begins like a JSON object must be one."""
    try:
        for number, line in enumerate(stdin, 1):
            text, place = line.lstrip("\ufeff").strip(), f"standard input, line {number}"
            if text.replace(" ", "").startswith('{"'):
                yield _from_object(text, place)
            elif text:
                yield _problem(text, None, place)
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input: not {error.encoding} text (byte {error.start})") from error
    except OSError as error:
        raise ConfigError(f"standard input: {error.strerror or error}") from error


def _from_object(line: str, place: str) -> MathProblem:
    value: Any = parsed(line, place)
    if not isinstance(value, dict) or not isinstance(value.get("problem"), str):
        raise ConfigError(f'{place}: want an object with a text "problem", got {line.strip()[:60]}')
    given = value.get("problem_id", value.get("id"))
    if given is not None and (isinstance(given, bool) or not isinstance(given, str | int)):
        raise ConfigError(f"{place}: want a text or an integer as id, got {shown(given)}")
    return _problem(value["problem"], given, place)


def _problem(text: str, given: str | int | None, place: str) -> MathProblem:
    if not text.strip():
        raise ConfigError(f"{place}: the problem is empty, got {shown(text)}")
    for what, value in (("problem", text), ("id", str(given))):
        try:
            value.encode()
        except UnicodeEncodeError as error:  # bytes of an argument that are not UTF-8, or half an escape in JSON
            found = ascii(value[error.start])
            raise ConfigError(f"{place}: the {what} is no UTF-8 text: {found} at {error.start}") from error
    return MathProblem(text, default_id(text) if given is None else str(given))
