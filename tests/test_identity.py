"""Identity is what determines the numbers: models or rewards that say other things have other fingerprints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langgraph.checkpoint.memory import InMemorySaver

from gsi_node import callable_reward
from gsi_node.errors import ResumeMismatch
from gsi_node.graph.build import compile_gsi
from gsi_node.identity import differing_parts, fingerprint_of, same_fingerprint
from gsi_node.rewards.prm.families import FAMILIES, first, second
from gsi_node.specs.load import load_model, load_reward
from gsi_node.step.config import GSIConfig
from gsi_node.tables.models import TableModel, TokenTable
from gsi_node.tables.rewards import TableReward
from gsi_node.text import chat_template
from gsi_node.types import Prefix
from tests import held
from tests.held import MAKERS
from tests.miniature import build_miniature
from tests.text import templates


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose template writes the day."""
    folder = build_miniature(tmp_path_factory.mktemp("dated"))
    (folder / "chat_template.jinja").write_text(templates.DATED, "utf-8")
    return folder


def test_a_template_that_writes_the_day_is_another_prompt_each_day(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (on(monkeypatch, day, f"hf:{folder}") for day in (1, 2))
    assert one.prefix_ids(Prefix("1")) != other.prefix_ids(Prefix("1"))
    assert one.fingerprint != other.fingerprint
    assert differing_parts(one.fingerprint, other.fingerprint) == ", which differ in prompt"


def test_a_resume_under_another_rendering_is_refused_naming_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    thread: Any = {"configurable": {"thread_id": "t"}}
    model = on(monkeypatch, 1, f"hf:{folder}")
    saver = begun(model, thread)
    with pytest.raises(ResumeMismatch, match="models.base: .* here, which differ in prompt"):
        graph(on(monkeypatch, 2, f"hf:{folder}"), saver).invoke(None, thread)
    assert graph(model, saver).invoke(None, thread)["steps"]


def test_a_pinned_date_resumes_on_another_day(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    thread: Any = {"configurable": {"thread_id": "t"}}
    saver = begun(on(monkeypatch, 1, f"hf:{folder}?date=2026-01-01"), thread)
    with pytest.raises(ResumeMismatch, match="models.base: .* here, which differ in prompt"):
        graph(on(monkeypatch, 2, f"hf:{folder}?date=2026-01-02"), saver).invoke(None, thread)
    assert graph(on(monkeypatch, 2, f"hf:{folder}?date=2026-01-01"), saver).invoke(None, thread)["steps"]
    saver = begun(on(monkeypatch, 1, f"hf:{folder}"), thread)  # the day of loading, pinned afterwards
    assert graph(on(monkeypatch, 2, f"hf:{folder}?date=2026-01-01"), saver).invoke(None, thread)["steps"]


def test_another_source_with_the_same_rendering_resumes(tmp_path: Path) -> None:
    thread: Any = {"configurable": {"thread_id": "t"}}
    folder = build_miniature(tmp_path / "model")
    file = folder / "chat_template.jinja"
    saver = begun(load_model(f"hf:{folder}"), thread)
    written = file.read_text("utf-8")
    for old, new in (
        ("['content'] }}", "['content'] | trim }}"),
        ("assistant\n", "assistant"),
        ("['role'] }}", "['role'].replace('system', 'developer') }}"),
    ):
        assert old in written
        file.write_text(written.replace(old, new), "utf-8")
        with pytest.raises(ResumeMismatch, match="which differ in prompt"):
            graph(load_model(f"hf:{folder}"), saver).invoke(None, thread)
    file.write_text("{# another source #}" + written.replace("message", "turn").replace("turns", "messages"), "utf-8")
    assert graph(load_model(f"hf:{folder}"), saver).invoke(None, thread)["steps"]


def on(monkeypatch: pytest.MonkeyPatch, day: int, spec: str) -> Any:
    """A model loaded on a day of January 2026."""
    monkeypatch.setattr(chat_template, "today", lambda: date(2026, 1, day))
    return load_model(spec)


def graph(model: Any, saver: InMemorySaver) -> Any:
    reward = TableReward(lambda prefix, step: 0.5, name="half")
    config = GSIConfig(n=2, max_steps=2, max_step_tokens=6)
    return compile_gsi(draft=model, base=model, reward=reward, config=config, checkpointer=saver)


def begun(model: Any, thread: Any) -> InMemorySaver:
    """A run that stopped in the middle of its first step."""
    saver = InMemorySaver()
    graph(model, saver).invoke({"problem": "1+2"}, thread, interrupt_before=["tilt_and_accept"])
    return saver


@pytest.mark.parametrize("spec", ["hf:{}", "prm:{}@trl"])
def test_another_way_of_cutting_texts_is_another_model(spec: str, tmp_path: Path) -> None:
    """The same tokens with the same ids, and the same weights: the text "AB" becomes other ids all the same."""
    kind = spec.partition(":")[0]
    folders = [build_miniature(tmp_path / name, reward=kind == "prm", chat=False) for name in ("one", "other")]
    file = folders[1] / "tokenizer.json"
    content = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**content, "normalizer": {"type": "Lowercase"}}), "utf-8")
    load = load_reward if kind == "prm" else load_model
    one, other = (load(spec.format(folder)) for folder in folders)
    assert one.fingerprint != other.fingerprint
    assert differing_parts(one.fingerprint, other.fingerprint) == ", which differ in tokenizer"


def test_a_family_is_what_it_reads_and_not_its_name() -> None:
    trl = FAMILIES["trl"]
    for other in (replace(trl, read=first), replace(trl, head="mlp"), replace(trl, words=("a", "b"))):
        assert other.reading != trl.reading
    assert replace(trl, read=lambda outputs: second(outputs)).reading == trl.reading


@pytest.mark.parametrize("maker", MAKERS)
def test_functions_of_one_source_that_hold_other_values_are_other_rewards(maker: str) -> None:
    same = {callable_reward(MAKERS[maker](0.5)).fingerprint for _ in range(2)}
    assert len(same) == 1
    assert callable_reward(MAKERS[maker](0.25)).fingerprint not in same


def test_two_lambdas_of_one_line_and_a_global_value(monkeypatch: pytest.MonkeyPatch) -> None:
    low, high = (lambda problem, steps: 0.2), (lambda problem, steps: 0.8)
    assert callable_reward(low).fingerprint != callable_reward(high).fingerprint
    before = callable_reward(held.scaled).fingerprint
    monkeypatch.setattr(held, "SCALE", 3.0)
    assert callable_reward(held.scaled).fingerprint != before


@pytest.mark.parametrize(("name", "value"), [("MARK", re.compile("thus")), ("TABLE", np.array([2.0]))])
def test_a_global_pattern_or_array(name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = callable_reward(held.marked).fingerprint
    monkeypatch.setattr(held, name, value)
    assert callable_reward(held.marked).fingerprint != before


def test_a_function_has_one_fingerprint_in_every_process() -> None:
    code = (
        "from tests.held import MAKERS; from gsi_node import callable_reward\n"
        "print(*(callable_reward(make(0.5)).fingerprint for make in MAKERS.values()))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1] and told[0].count("function:") == len(MAKERS)


def test_tables_given_as_functions_are_more_than_their_name() -> None:
    for one, other in (
        (TableModel(lambda prefix: {"a": 1.0}), TableModel(lambda prefix: {"b": 1.0})),
        (TableReward(lambda prefix, step: 0.1), TableReward(lambda prefix, step: 0.2)),
        (TokenTable(["a", ""], lambda x, y: [0.5, 0.5], eos=1), TokenTable(["a", ""], lambda x, y: [0.1, 0.9], eos=1)),
    ):
        assert one.fingerprint != other.fingerprint


def test_what_earlier_versions_kept_is_still_known() -> None:
    first_part = "ab" * 16
    here = fingerprint_of(first_part, {"tokenizer": "t", "prompt": "p"})
    assert same_fingerprint(first_part, here) and same_fingerprint(here, here)
    assert same_fingerprint(f"ensemble(min): {first_part} | x", f"ensemble(min): {here} | x")
    assert not same_fingerprint(here, first_part)
    assert not same_fingerprint(fingerprint_of(first_part, {"tokenizer": "t", "prompt": "q"}), here)
    assert not same_fingerprint(None, here) and same_fingerprint(None, None)
