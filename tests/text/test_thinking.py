"""Whether a model thinks, and what of its response is thinking: read off tokens, never off texts."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken

from gsi_node.errors import ConfigError
from gsi_node.text.prompt import PromptSettings
from gsi_node.text.thinking import FAMILIES, ThinkingFamily
from gsi_node.text.tokens import Tokens
from gsi_node.types import Prefix, Turn
from tests.miniature import miniature_tokenizer
from tests.text import templates
from tests.thinker import TEMPLATES, thinking_tokenizer

THINK = FAMILIES[0]


def tokens(opened: str = "itself", prompt: PromptSettings | None = None, family: ThinkingFamily = THINK) -> Tokens:
    tokenizer = miniature_tokenizer()
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in (family.opens, family.closes)])
    tokenizer.chat_template = TEMPLATES[opened].replace("</think>", family.closes).replace("<think>", family.opens)
    return Tokens(tokenizer, "mini", prompt or PromptSettings())


OFF = PromptSettings(arguments={"enable_thinking": False})


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.opens)
def test_a_model_thinks_unless_its_prompt_closes_the_block(family: ThinkingFamily) -> None:
    for opened in ("itself", "prompt"):
        own = tokens(opened, family=family)
        found = own.thinking
        assert found is not None and found.opened == (opened == "prompt")
        assert own.codec.decode((found.open_id, found.close_id)) == family.opens + family.closes
        assert own.codec.decode(found.closing) == family.closing and found.close_id in found.closing
        assert tokens(opened, OFF, family).thinking is None
    assert tokens(prompt=PromptSettings(arguments={"enable_thinking": True}), family=family).thinking is not None


def test_other_prompts_and_tokenizers_do_not_think() -> None:
    assert Tokens(miniature_tokenizer(), "mini").thinking is None
    tokenizer = thinking_tokenizer()
    for template in ("{problem}\n", "<think>\n</think>{problem}", "{problem}<think></think>"):
        assert Tokens(tokenizer, "mini", PromptSettings(template=template)).thinking is None
    found = Tokens(tokenizer, "mini", PromptSettings(template="{problem}<think>\n")).thinking
    assert found is not None and found.opened
    tokenizer.chat_template = templates.FORGETFUL
    assert Tokens(tokenizer, "mini").thinking is not None


def test_turns_that_switch_thinking_are_refused_by_name() -> None:
    own = tokens("switch")
    assert own.thinking is not None
    assert own.prefix_ids(Prefix("1+1", earlier=(Turn("user", "so"), Turn("assistant", "is"))))
    with pytest.raises(ConfigError, match=r"mini switches thinking for this conversation.*enable_thinking=false"):
        own.prefix_ids(Prefix("1+1", earlier=(Turn("system", "Be brief."),)))


def test_what_a_problem_or_a_turn_spells_closes_nothing() -> None:
    own = tokens("prompt")
    assert own.thinking is not None
    prefix = Prefix("is </think> shut", earlier=(Turn("user", "</think>"), Turn("assistant", "<think>1</think>2")))
    assert own.thinking.close_id not in own.prefix_ids(prefix)
    step = own.step(prefix, own.codec.encode("so\n\n"), 0.0)
    assert step.thought == len(step.text)


@pytest.mark.parametrize(
    ("opened", "written", "thoughts"),
    [
        ("itself", ["so 1\n\n"], [0]),  # it answers at once
        ("itself", ["<think>so\n\n", "is\n\n", "1.</think>is\n\n", "so\n\n"], [11, 4, 10, 0]),
        ("prompt", ["so\n\n", "</think>\n\nis\n\n"], [4, 8]),
        ("prompt", ["so</think>"], [10]),  # cut there
        ("prompt", ["</think>is\n\n", "a<think>so\n\n", "is\n\n", "</think>1"], [8, 12, 4, 8]),
        ("prompt", ["</think>is<think>so</think>is"], [27]),
        ("itself", ["so</think>is\n\n"], [10]),  # what was closed had begun
    ],
)
def test_a_step_says_how_much_of_it_is_thinking(opened: str, written: list[str], thoughts: list[int]) -> None:
    own, prefix = tokens(opened), Prefix("1+1")
    found: list[int] = []
    for text in written:
        step = own.step(prefix, own.codec.encode_marked(text), 0.0)
        assert step.text == text
        prefix, found = prefix.extended(step), [*found, step.thought]
    assert found == thoughts


def test_spelled_names_are_text() -> None:
    """The same characters by plain tokens: within thinking they close nothing, in an answer they hide nothing."""
    own = tokens("prompt")
    assert own.thinking is not None
    plain, marked = own.codec.encode, own.codec.encode_marked
    inside = own.step(Prefix("1+1"), plain("</think>so\n\n"), 0.0)
    assert inside.thought == len(inside.text) == 12
    both = own.step(Prefix("1+1"), plain("a</think>") + marked("</think>") + plain("so</think>is"), 0.0)
    assert both.text[: both.thought] == "a</think></think>" and both.text[both.thought :] == "so</think>is"


def test_tokens_are_counted_up_to_what_closes() -> None:
    own = tokens("itself")
    assert own.thinking is not None
    rows = [own.codec.encode_marked(text) for text in ("<think>so", "is", "</think>so", "is")]
    assert own.thinking.after(rows[:1]) == (True, len(rows[0]))
    assert own.thinking.after(rows[:2]) == (True, len(rows[0]) + len(rows[1]))
    assert own.thinking.after(rows) == (False, len(rows[0]) + len(rows[1]) + 1)
    assert own.thinking.after([]) == (False, 0)
