"""step_end, as code, files and command lines give it: what it means, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gsi_node.errors import ConfigError, LawMismatch
from gsi_node.graph.context import overridden
from gsi_node.step.check import check_models
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models
from gsi_node.step.endings import ended
from gsi_node.step.layers import validated
from gsi_node.step.methods import METHODS, Method
from gsi_node.step.solve import solve
from gsi_node.tables.models import TokenTable
from gsi_node.types import PARAGRAPH, Ends, Prefix

LINE = Ends(("\n",), after_text=True)
TOKENS = ["\n", ".", " a", "\n#", ""]
EOS = 4


def table(*tokens: str, name: str = "tokens") -> TokenTable:
    """Each of its tokens with one probability; the last is EOS."""
    return TokenTable(tokens, lambda prefix, ids: [1 / len(tokens)] * len(tokens), eos=len(tokens) - 1, name=name)


@pytest.mark.parametrize(
    ("rule", "ends", "most"),
    [
        (None, PARAGRAPH, 512),
        ("paragraph", PARAGRAPH, 512),
        ("line", LINE, 512),
        ("tokens:1", Ends(()), 1),
        ("tokens:512", Ends(()), 512),
        (["\n", " ."], Ends(("\n", " .")), 512),
        (("\n",), Ends(("\n",)), 512),
        ('["\\n", "é"]', Ends(("\n", "é")), 512),
        (["x" * 64] * 8, Ends(("x" * 64,) * 8), 512),
    ],
)
def test_a_rule_becomes_the_laws_ends(rule: Any, ends: Ends, most: int) -> None:
    config = GSIConfig(step_end=rule)
    law = config.law()
    assert (law.ends, law.max_step_tokens) == (ends, most)
    assert GSIConfig.model_validate(config.model_dump()) == config
    assert isinstance(config.model_dump()["step_end"], str | list | None)  # JSON-plain, as checkpoints keep it
    assert config.law(tokens_so_far=4095).max_step_tokens == 1


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("lien", "'lien'; did you mean \"line\"?"),
        ("Paragraph", 'did you mean "paragraph"?'),
        ("token:16", 'did you mean "tokens:16"?'),
        ("tokens", 'did you mean "tokens:16"?'),
        ("tokens:0", '"tokens:K" with K ≥ 1'),
        ("tokens:-3", '"tokens:K" with K ≥ 1'),
        ("tokens:٣", '"tokens:K" with K ≥ 1'),
        ("tokens:513", "tokens:513 goes beyond max_step_tokens, 512"),
        ("", "got ''"),
        ("\n", r"got '\\n'"),
        ([], r"1 to 8 strings of 1 to 64 bytes each, got \[\]"),
        ("[]", r"1 to 8 strings of 1 to 64 bytes each, got \[\]"),
        ([""], r"1 to 8 strings of 1 to 64 bytes each, got \[''\]"),
        (["."] * 9, "1 to 8 strings"),
        (["é" * 33], "1 to 64 bytes"),
        (["a\ud800"], "half of a surrogate pair"),
        ('["\\ud800"]', "half of a surrogate pair"),
        ([1], r"want a rule's name or a list of strings, got \[1\]"),
        (3, "want a rule's name or a list of strings, got 3"),
        ({".": 1}, "want a rule's name or a list of strings"),
        ('["."', "JSON: Expecting ',' delimiter"),
    ],
)
def test_what_is_no_rule_is_refused_by_name(rule: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"^step_end: .*{told}"):
        validated({"step_end": rule})


def test_a_runs_own_budget_does_not_undercut_it() -> None:
    config = GSIConfig(step_end="tokens:16")
    assert overridden(config, {"max_step_tokens": 16}).law().max_step_tokens == 16
    with pytest.raises(ConfigError, match="step_end: tokens:16 goes beyond max_step_tokens, 15"):
        overridden(config, {"max_step_tokens": 15})


def test_a_method_says_where_its_own_steps_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "lines", Method("lines", "draft", single=True, step_end="line"))
    monkeypatch.setitem(METHODS, "short", Method("short", "draft", single=True, step_end="tokens:3"))
    other = {name: rule.step_end for name, rule in METHODS.items() if rule.step_end != "paragraph"}
    assert other == {"lines": "line", "short": "tokens:3", "cgs": "tokens:16", "lgs": "tokens:16"}
    assert GSIConfig(method="lines").law().ends == LINE
    assert GSIConfig(method="lines", step_end="paragraph").law().ends == PARAGRAPH
    assert GSIConfig(method="short").law().max_step_tokens == 3
    with pytest.raises(ValidationError, match="step_end: tokens:3 goes beyond max_step_tokens, 2"):
        GSIConfig(method="short", step_end="tokens:3", max_step_tokens=2)
    assert GSIConfig(method="short", max_step_tokens=2).law().max_step_tokens == 2  # its own end is cut
    with pytest.raises(ConfigError, match="step_end: .*did you mean"):
        Method("wrong", "draft", step_end="lines")
    written = [0, 2, 1, 3, 0, 2, 0, 4]  # "\\n a.\\n#\\n a\\n", EOS

    def sure(prefix: Prefix, ids: tuple[int, ...]) -> list[float]:
        place = sum(len(step.token_ids) for step in prefix.steps) + len(ids)
        return [float(i == written[place]) for i in range(len(TOKENS))]

    model = TokenTable(TOKENS, sure, eos=EOS)
    steps = solve("p", Models(model), GSIConfig(method="lines")).steps
    assert [step["text"] for step in steps] == ["\n a.\n#", "\n a\n", ""]


@pytest.mark.parametrize(
    ("rule", "text", "wanted"),
    [
        ("paragraph", "a", "a\n\n"),
        ("paragraph", "a\n", "a\n\n"),
        ("paragraph", "a\n\n", "a\n\n"),
        ("paragraph", "a\n\n\n", "a\n\n\n"),
        ("paragraph", "a\n\nb", "a\n\nb\n\n"),
        ("line", "a", "a\n"),
        ("line", "a\n", "a\n"),
        ("tokens:2", "a", "a"),
        ([".", "\n"], "a", "a."),
        ([".", "\n"], "a\n", "a\n"),
        (["xyxz"], "xyx", "xyxz"),
        (["xyxz"], "xyxy", "xyxyxz"),
    ],
)
def test_an_initial_step_gets_the_first_end_where_it_has_none(rule: Any, text: str, wanted: str) -> None:
    assert ended(text, GSIConfig(step_end=rule).law().ends) == wanted


def test_an_initial_text_is_ended_by_the_runs_rule() -> None:
    def first(rule: Any) -> str:
        config = GSIConfig(method="draft", step_end=rule, max_steps=2)
        return str(solve("p", Models(table(*TOKENS)), config, initial_steps=[{"text": " a"}]).steps[0]["text"])

    assert [first(rule) for rule in ("paragraph", "line", "tokens:2", [".", "\n"])] == [" a\n\n", " a\n", " a", " a."]


def test_an_end_that_no_tokens_write_is_refused() -> None:
    def check(rule: Any, *tokens: str) -> None:
        check_models(Models(table(*tokens, name="mine")), GSIConfig(method="draft", step_end=rule))

    check("paragraph", "\n", "a", "")
    check(["bc"], "ab", "cd", "")
    check(["é"], "né", "")
    check(["ab\ncd"], "ab", "\n", "cd", "")
    check("tokens:3", "a", "")
    for rule, tokens in (
        ("paragraph", ("\n#", "a", "")),
        ("line", ("a", "")),
        (["ac"], ("ab", "cd", "")),
        ([".", "!"], (".", "a", "")),  # the other end cannot be written
        (["é"], ("e", "")),
        (["x"], ("a", "x")),  # EOS writes nothing
    ):
        with pytest.raises(LawMismatch, match="mine: no tokens of it write the step end"):
            check(rule, *tokens)
