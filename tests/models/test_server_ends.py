"""Where steps end on servers: stop ids, streams that are left at an END, what is cut, what it costs, what is refused.

The oracle knows no automaton: it looks for the ends in the bytes of a step's own tokens.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gsi_node import compile_gsi
from gsi_node.errors import BackendError
from gsi_node.step.config import GSIConfig
from gsi_node.tables.rewards import TableReward
from gsi_node.testing.models import CHECKS
from gsi_node.text.tokens import Tokens
from gsi_node.tools.doctor import Doctor
from gsi_node.types import SamplingLaw, Step
from tests.miniature import Miniatures, miniature_tokenizer
from tests.models import contract
from tests.models.ends_world import KEY, KINDS, LIMIT, PREFIX, RULES, Open, ended, law_of, model_of, streamed
from tests.models.serving import MODEL, Bigram, Server
from tests.models.spellings import SPELLINGS, bigram_of


@pytest.mark.parametrize(("kind", "spelling"), [("server", "byte-level"), ("sglang", "sentence-piece")])
@pytest.mark.parametrize("rule", RULES)
def test_contract(rule: str, spelling: str, kind: str, open_model: Open, miniatures: Miniatures) -> None:
    _, model = open_model(kind, spelling)
    backend = contract.Backend(kind, lambda _: model, 1e-9, law_of(rule, 1.0))
    for check in CHECKS:
        check(backend.subject(miniatures))


@pytest.mark.parametrize(("kind", "stops"), [("server", True), ("server", False), ("sglang", True)])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("rule", RULES)
def test_steps_end_where_their_bytes_first_hold_an_end(
    rule: str, spelling: str, kind: str, stops: bool, open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamed or whole, and whatever an event holds: the same tokens and numbers; they are those of the exact law."""
    server, model = open_model(kind, spelling, stops=stops)
    law, found = law_of(rule), []
    for stream, tokens, incremental, piece in ((False, 1, False, 1 << 20), (True, 1, False, 50), (True, 5, True, 3000)):
        server.streaming.tokens, server.streaming.incremental, server.streaming.piece = tokens, incremental, piece
        streamed(model, monkeypatch, stream)
        found.append(model.sample(PREFIX, 8, KEY, law))
    assert found[0] == found[1] == found[2]
    prompt = model.tokens.prefix_ids(PREFIX)
    for step in found[0]:
        assert len(step.token_ids) == law.max_step_tokens or ended(model, step.token_ids, law.ends)
        assert not any(ended(model, step.token_ids[:length], law.ends) for length in range(1, len(step.token_ids)))
        exact = server.model.exact(prompt, step.token_ids, law.temperature)
        assert abs(step.log_prob - exact) <= step.log_prob_error + 1e-9
    if rule != "tokens:3":
        assert sum(ended(model, step.token_ids, law.ends) for step in found[0]) >= 4


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("rule", RULES)
def test_stop_ids_end_a_step_wherever_they_stand(rule: str, spelling: str, open_model: Open) -> None:
    """Each holds an end by itself, as a step's first token too, or is EOS; and no such id is left out."""
    server, model = open_model("server", spelling)
    model.sample(PREFIX, 1, KEY, law := law_of(rule))
    sure = [
        i for i in range(model.tokens.size) if ended(model, (i,), law.ends) and i not in model.tokens.codec.control_ids
    ]
    assert server.bodies[-1]["stop_token_ids"] == sorted({*sure, *model.eos_ids})


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_runs_past_an_eos_of_the_server_that_is_none_of_the_law(kind: str, open_model: Open) -> None:
    """As `gsi bench --models` asks; under a law of the model's own EOS the server is left to end there."""
    server, model = open_model(kind, "byte-level")
    own = law_of("tokens:3")
    law = replace(own, eos_ids=())
    whole = model.sample(PREFIX, 8, KEY, law)
    assert {len(step.token_ids) for step in whole} == {law.max_step_tokens}
    server.eos = {whole[0].token_ids[0]}
    assert model.sample(PREFIX, 8, KEY, law) == whole
    with pytest.raises(BackendError, match="is no step end of this run"):
        model.sample(PREFIX, 8, KEY, own)


def test_where_few_ids_can_stop_answers_are_streamed(open_model: Open) -> None:
    whole = {(rule, spelling) for rule in RULES for spelling in SPELLINGS if not _streams(open_model, rule, spelling)}
    assert whole == {("tokens:3", "byte-level"), ("tokens:3", "sentence-piece")}


def test_where_one_token_says_the_end_answers_are_whole(tmp_path: Path) -> None:
    miniature_tokenizer().save_pretrained(tmp_path)
    tokens = Tokens.of_folder(str(tmp_path), "t")
    with Server(bigram_of(tokens), folder=str(tmp_path)) as server, model_of("server", server) as model:
        assert not model.streams(model.step_ends(SamplingLaw()))
        assert model.streams(model.step_ends(law_of("line")))


def _streams(open_model: Open, rule: str, spelling: str) -> bool:
    server, model = open_model("server", spelling)
    model.sample(PREFIX, 2, KEY, law_of(rule))
    return bool(server.bodies[-1]["stream"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_tokens_beyond_the_end_are_counted(
    kind: str, stream: bool, open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the usage of a run, as users read it: every token that came is billed, of which the steps hold fewer."""
    server, model = open_model(kind)
    streamed(model, monkeypatch, stream)
    came: list[int] = []

    def edit(path: str, answer: Any) -> Any:
        came.append(_tokens_in(answer))
        return answer

    server.edit = edit
    server.streaming.tokens = 4
    config = GSIConfig(method="rsd-n", n=3, max_steps=2, max_step_tokens=LIMIT, threshold=-9.0, record="candidates")
    graph = compile_gsi(draft=model, base=model, reward=TableReward(lambda *_: 1.0, name="one"), config=config)
    result = graph.invoke({"problem": "1+2"})
    drawn = sum(len(c["token_ids"]) for step in result["steps"] for c in step["candidates"])
    billed = result["usage"]["draft"]["generated_tokens"]
    assert drawn < billed
    assert billed == sum(came) if not stream else billed <= sum(came)


def _tokens_in(answer: Any) -> int:
    if isinstance(answer, dict):
        return sum(len(choice["token_ids"]) for choice in answer["choices"])
    return sum(len(one["output_ids"]) for one in answer)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_beyond_its_end_is_impossible_and_nobody_is_asked(kind: str, open_model: Open) -> None:
    server, model = open_model(kind)
    law = law_of("paragraph")
    step = next(s for s in model.sample(PREFIX, 12, KEY, law) if not s.finished and ended(model, s.token_ids, law.ends))
    longer = Step("", (*step.token_ids, step.token_ids[0]), 0.0, False)
    before = server.requests
    assert model.score(PREFIX, [longer, longer], law)[0].log_prob == float("-inf")
    assert server.requests == before
    scores = model.score(PREFIX, [longer, step], law)
    assert scores[0].log_prob == float("-inf") and scores[1].log_prob == pytest.approx(step.log_prob, abs=0.1)


def test_the_probe_says_how_steps_end(open_model: Open) -> None:
    _, model = open_model()
    assert "stop ids end a step, and come back as its last token" in model.findings
    assert any(
        f.startswith(r"steps end at '\n\n': 2 stop ids, answers are streamed, and left there") for f in model.findings
    )
    before = len(model.findings)
    model.supports(law_of("tokens:3"))
    model.supports(law_of("tokens:3"))
    (finding,) = model.findings[before:]
    assert (
        finding.startswith("steps end at a number of tokens: 1 stop ids, answers are whole") and "OTHER" not in finding
    )
    _, deaf = open_model(stops=False)
    assert any("stop ids do NOT end a step" in finding for finding in deaf.findings)
    assert deaf.streams(deaf.step_ends(law_of("paragraph"))) and not deaf.streams(deaf.step_ends(law_of("tokens:3")))


def test_a_server_that_leaves_the_end_token_out_is_refused_at_start_up(
    spellings: dict[str, tuple[Path, Bigram]],
) -> None:
    folder, bigram = spellings["byte-level"]

    def edit(path: str, answer: Any) -> Any:
        for choice in answer["choices"]:
            if choice["finish_reason"] == "stop":
                choice["token_ids"] = choice["token_ids"][:-1]
                choice["logprobs"] = {name: values[:-1] for name, values in choice["logprobs"].items()}
        return answer

    with Server(bigram, folder=str(folder)) as server:
        server.edit = edit
        with pytest.raises(BackendError, match="its end token was left out"):
            model_of("server", server)


def test_the_doctor_tells_of_the_rule_in_use(spellings: dict[str, tuple[Path, Bigram]]) -> None:
    folder, bigram = spellings["byte-level"]
    out = io.StringIO()
    with Server(bigram, folder=str(folder)) as server:
        spec = f"server:{server.url}/v1#{MODEL}?template={{problem}}"
        config = GSIConfig(n=2, max_steps=1, max_step_tokens=8, step_end="line", max_log_ratio_error=9.0)
        Doctor(config, "1+2", out).examine(spec, spec, "verifier")
    assert out.getvalue().count(r"steps end at '\n':") == 2
