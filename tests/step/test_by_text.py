"""Draft and base of different vocabularies: steps travel as text, each is encoded once and alone, and says whose ids it
has. The law is that of one vocabulary."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from gsi_node import GSIConfig, Models, Prefix, StepContext, asolve, compile_gsi, solve
from gsi_node.core.choose import Chooser
from gsi_node.core.enumerate import outcomes
from gsi_node.errors import ConfigError, GSIError, VocabularyMismatch
from gsi_node.step import stages
from gsi_node.step.calls import run
from gsi_node.step.decide import deciding
from gsi_node.step.methods import METHODS
from gsi_node.step.records import next_context, pack_step, unpack_step
from gsi_node.tables.models import EOS_ID, TableModel
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Key, Plain, SamplingLaw, Step
from tests.token_world import tables

FAR = 1000


class Far(TableModel):
    """A table model whose ids are code points moved by FAR. It reads its prefix from the ids, as a real model does."""

    vocabulary = "far code points"
    eos_ids = (FAR + EOS_ID,)

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.encoded: list[str] = []

    def encode(self, text: str) -> tuple[int, ...]:
        self.encoded.append(text)
        return tuple(FAR + ord(letter) for letter in text)

    def step_of(self, prefix: Prefix, token_ids: Sequence[int], log_prob: float) -> Step:
        near = super().step_of(prefix, [i - FAR for i in token_ids], log_prob)
        return replace(near, token_ids=tuple(token_ids))

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        read = [self.step_of(Prefix(""), step.token_ids, 0.0) for step in prefix.steps]
        assert [step.text for step in read] == [step.text for step in prefix.steps]
        steps = super().sample(prefix, n, key, law)
        return [replace(step, token_ids=tuple(FAR + i for i in step.token_ids)) for step in steps]


def told(weight: float) -> Callable[[Prefix], Mapping[str, float]]:
    """A table that depends on what was said before."""

    def table(prefix: Prefix) -> Mapping[str, float]:
        lean = weight if prefix.text.count("a") % 2 else 1.0 - weight
        return {"a\n\n": 0.5 * lean, "ba\n\n": 0.5, r"\boxed{1}": 0.5 * (1.0 - lean)}

    return table


REWARD = TableReward(lambda prefix, step: 0.9 if "b" in step.text else 0.2, range=(0.0, 1.0))
CONFIG = GSIConfig(method="rsd-n", n=1, beta=2.0, delta=0.5, max_steps=8)


def parts(draft: type[TableModel], base: type[TableModel]) -> dict[str, Any]:
    return {"draft": draft(told(0.3)), "base": base(told(0.7)), "reward": REWARD}


def law_of(method: str, draft: type[TableModel], base: type[TableModel]) -> dict[tuple[str, ...], float]:
    """{texts of the first two steps: probability}, by the production stages."""

    def one_run(chooser: Chooser) -> tuple[str, ...]:
        def choosers(key: Key, candidate: int) -> Chooser:
            return chooser

        models = Models(draft(told(0.3), chooser=choosers), base(told(0.7), chooser=choosers), REWARD)
        config = CONFIG.model_copy(update={"method": method, "n": 2})
        records: list[Plain] = []
        for _ in range(2):
            context = next_context(models, config, Prefix(""), "", records)
            decision = run(deciding(replace(context, choosers=choosers)))[0]
            records.append(decision.record)
            if decision.step.finished:
                break
        return tuple(record["text"] for record in records)

    found: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
    for texts, probability in outcomes(one_run):
        found[texts].append(probability)
    return {texts: math.fsum(values) for texts, values in found.items()}


@pytest.mark.parametrize("method", ["rsd", "sbon-draft", "sbon-base"])
def test_the_law_of_two_steps_is_that_of_one_vocabulary(method: str) -> None:
    wanted = law_of(method, TableModel, TableModel)
    for draft, base in ((TableModel, Far), (Far, TableModel)):
        found = law_of(method, draft, base)
        assert found.keys() == wanted.keys() and len(found) > 5
        assert all(math.isclose(found[texts], p, rel_tol=1e-12) for texts, p in wanted.items())


def test_ids_that_were_not_encoded_anew_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_it_is(model: Any, role: Any, steps: Sequence[Step], known: Any) -> Any:
        yield from ()
        return tuple(steps)

    monkeypatch.setattr(stages, "read", as_it_is)
    with pytest.raises((AssertionError, GSIError)):
        law_of("rsd", TableModel, Far)


def test_a_step_is_encoded_once_and_alone() -> None:
    models = parts(TableModel, Far)
    graph = compile_gsi(**models, config=CONFIG)
    seen = [step for i in range(6) for step in graph.invoke({"problem": f"2 + {i}"})["steps"]]
    drafted = {step["text"] for step in seen if step["source"] == "draft"}
    encoded = models["base"].encoded
    assert len(encoded) == len(set(encoded)) and {"ba\n\n"} <= set(encoded) <= drafted


class Forgotten(dict[tuple[str, str], tuple[int, ...]]):
    """What was encoded, of which another run forgets everything as soon as something is added."""

    def __setitem__(self, place: tuple[str, str], ids: tuple[int, ...]) -> None:
        super().__setitem__(place, ids)
        self.clear()


def test_what_another_run_forgets_meanwhile_is_read_all_the_same() -> None:
    steps = [Step("ab", (97, 98), 0.0, False, vocabulary="unicode code points")]
    (far,), _ = run(stages.read(parts(TableModel, Far)["base"], "base", steps, Forgotten()))
    assert far.token_ids == (FAR + 97, FAR + 98)


def test_records_say_whose_ids_they_are_and_both_faces_agree() -> None:
    models = parts(TableModel, Far)
    result = solve("2 + 3", Models(**models), CONFIG)
    whose = {"draft": "unicode code points", "base": "far code points"}
    assert all(step["vocabulary"] == whose[step["source"]] for step in result.steps)
    assert all(step["rejected"]["vocabulary"] == whose["draft"] for step in result.steps if "rejected" in step)
    assert {step["source"] for step in result.steps} == {"draft", "base"}
    assert asyncio.run(asolve("2 + 3", Models(**parts(TableModel, Far)), CONFIG)).steps == result.steps
    graph = compile_gsi(**parts(TableModel, Far), config=CONFIG)
    assert graph.invoke({"problem": "2 + 3"})["steps"] == result.steps
    alone = solve("2 + 3", Models(**parts(TableModel, TableModel)), CONFIG)
    assert [step["text"] for step in alone.steps] == [step["text"] for step in result.steps]
    assert not any("vocabulary" in step for step in alone.steps)
    step = Step("a", (1001,), 0.0, False, vocabulary="far code points")
    assert unpack_step(pack_step(step)).vocabulary == "far code points"


def test_a_run_goes_on_from_its_checkpoint() -> None:
    """Stopped before every fallback, and gone on with by other objects: no encoding of the first ones is left."""
    wanted = compile_gsi(**parts(TableModel, Far), config=CONFIG).invoke({"problem": "2 + 3"})
    saver = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "1"}}
    given: Any = {"problem": "2 + 3"}
    for _ in range(9):
        graph = compile_gsi(
            **parts(TableModel, Far), config=CONFIG, checkpointer=saver, interrupt_before=["draft", "fallback"]
        )
        result = graph.invoke(given, config)
        given = None
    assert result["steps"] == wanted["steps"] and result["answer"] == wanted["answer"] == "1"


def test_budgets_count_each_step_in_the_tokens_of_its_writer() -> None:
    result = solve("2 + 3", Models(**parts(TableModel, Far)), CONFIG)
    tokens = [len(step["token_ids"]) for step in result.steps]
    most = sum(tokens[:-1])
    cut = solve("2 + 3", Models(**parts(TableModel, Far)), CONFIG.model_copy(update={"max_tokens": most}))
    assert cut.stop_reason == "max_tokens" and cut.steps == result.steps[:-1]


def test_each_model_has_its_own_eos() -> None:
    mixed, shared = Models(**parts(TableModel, Far)), Models(**parts(TableModel, TableModel))
    assert next_context(mixed, CONFIG, Prefix("1"), "", []).law.eos_ids is None
    assert next_context(shared, CONFIG, Prefix("1"), "", []).law.eos_ids == (EOS_ID,)


def test_given_steps_say_whose_ids_they_have() -> None:
    graph = compile_gsi(**parts(TableModel, Far), config=CONFIG)
    first = graph.invoke({"problem": "2 + 3"})["steps"]
    (plain, *_), *_ = graph.invoke({"problem": "2 + 3", "initial_steps": [{"text": "a\n\n"}]})["steps"], None
    assert plain["vocabulary"] == "unicode code points"
    again = graph.invoke({"problem": "2 + 3", "initial_steps": first[:1]})["steps"]
    assert again[0]["token_ids"] == first[0]["token_ids"] and again[0]["vocabulary"] == first[0]["vocabulary"]
    other = {**first[0], "vocabulary": "of nobody"}
    with pytest.raises(VocabularyMismatch, match=r"initial_steps\[0\]: .*'of nobody'.*leave both out"):
        graph.invoke({"problem": "2 + 3", "initial_steps": [other]})


def test_a_refused_draft_that_a_person_accepts_ends_the_response_where_it_did() -> None:
    models = parts(Far, TableModel)
    models["draft"] = Far({"so it is": 1.0})
    graph = compile_gsi(**models, config=CONFIG, checkpointer=InMemorySaver(), interrupt_before=["fallback"])
    thread: Any = {"configurable": {"thread_id": "1"}}
    graph.invoke({"problem": "2 + 3"}, thread)
    at = graph.get_state(thread)
    refused = at.values["gsi_refused"]
    graph.update_state(thread, {"steps": [{"text": refused["text"], "source": "draft"}]}, as_node="by_hand")
    result = graph.invoke(None, thread)
    assert result["stop_reason"] == "eos" and result["steps"][0]["vocabulary"] == "far code points"


@pytest.mark.parametrize("method", METHODS)
def test_methods_that_compare_probabilities_refuse_and_name_those_that_do_not(method: str) -> None:
    rule = METHODS[method]
    models = parts(TableModel, Far)
    if rule.propose == "specdec":
        models["draft"], models["base"] = tables()[0], Far(told(0.7))
    config = GSIConfig(method=method, step_end="paragraph")
    if rule.by_text:
        compile_gsi(**models, config=config)
        return
    with pytest.raises(ConfigError) as raised:
        compile_gsi(**models, config=config)
    named = str(raised.value).rpartition(": ")[2].split(", ")
    assert named == [name for name, rule in METHODS.items() if rule.by_text]
    assert rule.propose == "specdec" or isinstance(raised.value, VocabularyMismatch)


def test_the_rules_say_which_methods_those_are() -> None:
    by_text = {name for name, rule in METHODS.items() if rule.by_text}
    assert by_text == {"rsd", "rsd-n", "sbon-draft", "sbon-base", "bon-draft", "bon-base", "draft", "base"}


def test_a_step_context_of_one_vocabulary_reads_its_prefix_as_it_is() -> None:
    models, seen = Models(**parts(TableModel, TableModel)), []

    class Watching(TableModel):
        def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
            seen.append(prefix)
            return super().sample(prefix, n, key, law)

    models = replace(models, draft=Watching(told(0.3)))
    prefix = Prefix("1", (Step("a\n\n", (97, 10, 10), 0.0, False),))
    run(deciding(StepContext(models, CONFIG, "", prefix, CONFIG.law())))
    assert seen[0] is prefix
