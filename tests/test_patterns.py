"""Every regular expression of the grader, the evaluations and the rewards takes a time linear in a hostile text.

The patterns are collected, not listed: those that modules hold, and those written inside calls of `re`. The texts
are made of each parse tree: every repetition and alternative in it, again and again, behind what leads there.
"""

from __future__ import annotations

import ast
import math
import pkgutil
import re
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from inspect import getsource
from random import Random
from typing import Any, NamedTuple

import pytest

import evals
import gsi_node.answer
import gsi_node.core.choose
import gsi_node.rewards

LENGTH = 20_000
"""Ten times the longest answer (graders.grading.MAX_CHARACTERS) and step (verifier.MAX_CHARACTERS) that is read."""
SECONDS = 1.0
DEAREST = 10
CALLS = frozenset("compile search match fullmatch findall finditer split sub subn".split())


class Found(NamedTuple):
    """A pattern, where it stands, and the functions of `re` that it is used with."""

    where: str
    pattern: re.Pattern[Any]
    uses: frozenset[str]


def sources() -> dict[str, str]:
    """The sources of evals and of the rewards, and of the modules beside them that read answers, by module."""
    found = {module.__name__: getsource(module) for module in (gsi_node.answer, gsi_node.core.choose)}
    for package in (evals, gsi_node.rewards):
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            spec = info.module_finder.find_spec(info.name, None)
            loader: Any = None if spec is None else spec.loader
            found[info.name] = loader.get_source(info.name)
    return found


def uses(source: str) -> Iterator[tuple[str, str]]:
    """(name, how) for each `name.search(…)`, `module.name.fullmatch(…)` … in a source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in CALLS and isinstance(node.value, ast.Name | ast.Attribute):
            yield node.value.id if isinstance(node.value, ast.Name) else node.value.attr, node.attr


def held(value: Any, seen: set[int]) -> Iterator[re.Pattern[str]]:
    """The patterns in a value and in what it contains."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, re.Pattern):
        yield value
    elif type(value) is dict:
        for part in (*value, *value.values()):
            yield from held(part, seen)
    elif type(value) in (list, tuple, set, frozenset):
        for part in value:
            yield from held(part, seen)
    elif isinstance(value, type) and value.__module__.startswith(("evals.", "gsi_node.")):
        yield from held(list(vars(value).values()), seen)


EXAMPLES: dict[str, dict[str, Any]] = {  # names of which a pattern is made in a run
    "evals.campaign.pack": {"parts": [r"Tom\s+has\s+3\s+apples\.", r"How\s+many\s+are\s+left\?"]}
}


def written(source: str, names: dict[str, Any], module: str) -> Iterator[Found]:
    """Each call of `re` in a source. Fails on a pattern that only a run could tell."""
    known = {**names, **EXAMPLES.get(module, {})}
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re") or not node.args:
            continue
        where = f"{module}:{node.lineno}"
        flags = [word.value for word in node.keywords if word.arg == "flags"]
        flags += node.args[1:2] if node.func.attr == "compile" else []
        first = node.args[0]
        for part in (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,):
            try:
                made = [eval(compile(ast.Expression(one), where, "eval"), known) for one in (part, *flags)]
            except NameError as error:
                raise AssertionError(f"{where}: the pattern is not known before a run ({error}); name it") from error
            pattern = made[0] if isinstance(made[0], re.Pattern) else re.compile(*made)
            if node.func.attr != "compile":  # a compiled one is looked at where it is held
                yield Found(where, pattern, frozenset({node.func.attr}))


def patterns() -> dict[str, Found]:
    """Every pattern, by where it stands; those of modules that do not import `re` stand where they come from."""
    texts = sources()
    used: dict[str, set[str]] = {}
    for source in texts.values():
        for name, how in uses(source):
            used.setdefault(name, set()).add(how)
    found: dict[str, Found] = {}
    for name, source in texts.items():
        if not re.search(r"^\s*(?:import|from) +re\b", source, re.MULTILINE):
            continue
        module = import_module(name)
        for held_by, value in vars(module).items():
            for number, pattern in enumerate(held(value, set())):
                where = f"{name}.{held_by}" + (f".{number}" if number else "")
                found[where] = Found(where, pattern, frozenset(used.get(held_by, {"search"})))
        found |= {one.where: one for one in written(source, vars(module), name)}
    return found


# From the parse tree of a pattern to texts. The names of its operations are those of `re._constants`.


def sample(tree: Iterable[Any], random: Random) -> str:
    """A text that the tree may match; what is optional is in it or not."""
    text = ""
    for op, value in tree:
        match str(op):
            case "LITERAL":
                text += chr(value)
            case "NOT_LITERAL":
                text += "a" if value != ord("a") else "b"
            case "ANY":
                text += "a"
            case "IN":
                text += member(value, random)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                low, _, inner = value
                text += "".join(sample(inner, random) for _ in range(max(low, random.randint(0, 1))))
            case "BRANCH":
                text += sample(random.choice(value[1]), random)
            case "SUBPATTERN":
                text += sample(value[-1], random)
            case "ATOMIC_GROUP":
                text += sample(value, random)
            case "ASSERT" if value[0] < 0:
                text += sample(value[1], random)
    return text


def member(options: list[Any], random: Random) -> str:
    """A character of a set."""
    made = {"CATEGORY_DIGIT": "7", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "a"}
    if str(options[0][0]) == "NEGATE":
        inside = {chr(value) for op, value in options[1:] if str(op) == "LITERAL"}
        ranges = [value for op, value in options[1:] if str(op) == "RANGE"]
        free = [one for one in "a7 \\{x." if one not in inside and not any(a <= ord(one) <= b for a, b in ranges)]
        return free[0] if free else "~"
    op, value = random.choice(options)
    if str(op) == "RANGE":
        return chr(random.choice(value))
    return chr(value) if str(op) == "LITERAL" else made.get(str(value), "-")


def repeated(tree: Iterable[Any], random: Random, before: str = "") -> Iterator[tuple[str, str]]:
    """(what leads there, one piece) for every repetition and every alternative in a tree."""
    for op, value in tree:
        match str(op):
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                yield before, sample(value[2], random)
                yield from repeated(value[2], random, before)
            case "BRANCH":
                for branch in value[1]:
                    yield before, sample(branch, random)
                    yield from repeated(branch, random, before)
            case "SUBPATTERN":
                yield from repeated(value[-1], random, before)
            case "ATOMIC_GROUP":
                yield from repeated(value, random, before)
        before += sample([(op, value)], random)
        yield "", before


def texts(pattern: re.Pattern[Any]) -> set[tuple[str, str, str]]:
    """Hostile texts: what leads there, one piece to be repeated, an end."""
    written = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree: list[Any] = list(re._parser.parse(written, pattern.flags & ~re.UNICODE))  # type: ignore[attr-defined]
    pieces = {pair for seed in range(4) for pair in repeated(tree, Random(seed)) if pair[1]}
    return {(*pair, end) for pair in pieces for end in ("", "\x00")}


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """TimeoutError after so many seconds of processor time, also inside a match."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError

    earlier = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, earlier)


def cost(found: Found, text: str) -> float:
    """The seconds of processor time of the dearest use of a pattern; inf beyond SECONDS."""
    pattern, worst = found.pattern, 0.0
    given = text if isinstance(pattern.pattern, str) else text.encode("latin-1", "replace")
    for use in sorted({use if use in ("match", "fullmatch") else "finditer" for use in found.uses}):
        started = time.process_time()
        try:
            with limited(SECONDS):
                deque(iter([getattr(pattern, use)(given)]) if use != "finditer" else pattern.finditer(given), maxlen=0)
        except TimeoutError:
            return math.inf
        worst = max(worst, time.process_time() - started)
    return worst


def slow(found: Found) -> str | None:
    """A text for which one use of the pattern takes longer than SECONDS; None if none does.

    All of a quarter of the length come first, the dearest of them then whole: what costs up to its cube takes at most
    4³ times as long, and what costs more does not end for a quarter, either.
    """

    def made(parts: tuple[str, str, str], length: int) -> str:
        before, piece, end = parts
        return before + piece * ((length - len(before)) // len(piece)) + end

    short = [(cost(found, made(parts, LENGTH // 4)), parts) for parts in texts(found.pattern)]
    for seconds, parts in sorted(short, reverse=True)[:DEAREST]:
        if seconds > SECONDS / 4**3 and cost(found, made(parts, LENGTH)) > SECONDS:
            return made(parts, LENGTH)
    return None


PATTERNS = patterns()


def test_they_are_found() -> None:
    assert len(PATTERNS) > 80
    assert {
        "evals.graders.notation._NAME",
        "gsi_node.rewards.verifier.notation._TOKEN",
        "gsi_node.answer._TOKEN",
    } <= set(PATTERNS)


@pytest.mark.parametrize("where", PATTERNS)
def test_no_repetition_costs_more_than_its_length(where: str) -> None:
    text = slow(PATTERNS[where])
    assert text is None, f"{PATTERNS[where]} on {text[:60]!r}…"


PLANTED = [
    r"(?:a+)+b",
    r"\s*$",
    r"(?<=[0-9])\s*\\text\{([^{}]*)\}(?:\s*(?:/|\\cdot)?\s*\\text\{([^{}]*)\})*\s*$",
    r"\{[^}]*\}",
    r"(?:x|x)*y",
    r".*,.*;",
]


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_one_is_found(planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a text so long that what costs its square takes seconds on a fast machine, too."""
    monkeypatch.setitem(globals(), "SECONDS", 0.2)
    monkeypatch.setitem(globals(), "LENGTH", 3 * LENGTH)
    assert slow(Found("planted", re.compile(planted), frozenset({"search"}))) is not None


def test_a_pattern_written_in_a_function_does_not_escape() -> None:
    source = 'def f(text, more):\n    return re.search(r"(?:b+)+c", text) or re.fullmatch(more, text)\n'
    found = written(source, {"re": re}, "planted")
    assert next(found) == Found("planted:2", re.compile("(?:b+)+c"), frozenset({"search"}))
    with pytest.raises(AssertionError, match="planted:2: the pattern is not known"):
        next(found)
    assert set(uses("A.search(x); b.C.sub(y)")) == {("A", "search"), ("C", "sub")}
