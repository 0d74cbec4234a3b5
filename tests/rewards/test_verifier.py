"""VerifierReward against a table of notations and planted mutants."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from gsi_node.errors import ConfigError
from gsi_node.protocols import Reward
from gsi_node.rewards.verifier import arithmetic, notation, relations, sides
from gsi_node.rewards.verifier import reward as verifier
from gsi_node.rewards.verifier.reward import VerifierReward
from gsi_node.types import Prefix, Step
from tests.rewards.notations import FAILS, HOLDS, PRIOR, UNCHECKED, reward

TABLE = [(text, reward) for texts, reward in ((HOLDS, 1.0), (FAILS, 0.0), (UNCHECKED, PRIOR)) for text in texts]


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_the_table(text: str, expected: float) -> None:
    assert reward(text) == expected
    assert reward(f"{text}\n\n") == expected


def test_it_is_a_reward() -> None:
    judge = VerifierReward()
    assert isinstance(judge, Reward)
    assert judge.range == (0.0, 1.0)
    steps = [Step(text, (), 0.0, False) for text in ("2 + 2 = 4\n\n", "2 + 2 = 5\n\n", "Let us think.\n\n")]
    assert judge(Prefix("2 + 2 = 5"), steps) == [1.0, 0.0, 0.5]
    assert judge(Prefix(""), []) == []
    assert judge.fingerprint != VerifierReward(0.4).fingerprint


async def test_its_async_twin_says_the_same() -> None:
    assert await VerifierReward().acall(Prefix(""), [Step("2 + 2 = 5", (), 0.0, True)]) == [0.0]


@pytest.mark.parametrize("prior", [-0.1, 1.5, float("nan")])
def test_a_prior_that_is_no_reward_is_refused(prior: float) -> None:
    with pytest.raises(ConfigError, match="choose it in"):
        VerifierReward(prior)


def test_one_false_relation_outweighs_the_true_ones() -> None:
    assert reward("2 + 2 = 4, 3 * 3 = 9 and 4 + 4 = 9. Then 5 + 5 = 10.") == 0.0


def test_what_stands_after_the_bounds_cannot_prove_a_step() -> None:
    padding = "and so on. " * 200
    assert reward(padding + "2 + 2 = 5") == PRIOR
    assert reward("2 + 2 = 4. " + padding) == PRIOR
    assert reward("2 + 2 = 5. " + padding) == 0.0
    assert reward("1 = 1. " * verifier.MAX_SIGNS) == 1.0
    assert reward("1 = 1. " * (verifier.MAX_SIGNS + 1)) == PRIOR


def test_a_relation_cut_in_two_is_not_judged() -> None:
    text = "1 + 1 = 20"
    filling = " " * (verifier.MAX_CHARACTERS - len("1 + 1 = 2"))
    assert reward(filling + text) == PRIOR


def mistakes() -> int:
    """How many rows of the table come out wrong."""
    return sum(reward(text) != expected for text, expected in TABLE)


def always(value: object) -> Callable[..., object]:
    return lambda *_, **__: value


MUTANTS: dict[str, tuple[object, str, object]] = {
    "times binds no tighter than plus": (arithmetic, "_PRECEDENCE", arithmetic._PRECEDENCE | {"*": 1}),
    "minus binds tighter than a power": (arithmetic, "_PRECEDENCE", arithmetic._PRECEDENCE | {"negate": 5}),
    "powers group to the left": (
        arithmetic._Machine,
        "binary",
        lambda self, sign: (self.reduce() if self.pending[-1:] == [sign] else None, self.pending.append(sign)),
    ),
    "equal to a tenth": (
        relations,
        "_true",
        lambda sign, a, b: not isinstance(a, str) and abs(a - b) < Fraction(1, 10),
    ),
    "≈ accepts anything": (relations, "_rounds", always(True)),
    "a side is never ambiguous": (sides, "STOP_WORDS", frozenset()),
    "no word changes a value": (sides, "MATH_WORDS", frozenset()),
    "connectives are units": (sides, "CONNECTIVES", frozenset()),
    "no units convert": (relations, "SCALES", frozenset()),
    "no tight fraction after a division": (sides, "_grouped", lambda run: run),
    "units keep their exponents": (sides, "_without_units", lambda run: [t for t in run if t.kind != "word"]),
    "no mixed numbers": (notation, "_mixed", always(None)),
    "x is never a sign": (notation, "_times", always(False)),
    "annotations are dropped": (
        notation,
        "_clean",
        lambda text: notation._CALCULATOR.sub(" ", text.translate(notation._GLYPHS)),
    ),
}


def test_the_table_is_right_before_mutation() -> None:
    assert mistakes() == 0


@pytest.mark.parametrize("name", MUTANTS)
def test_the_table_kills_a_planted_mutant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, mutant = MUTANTS[name]
    monkeypatch.setattr(owner, attribute, mutant)
    assert mistakes() > 0
