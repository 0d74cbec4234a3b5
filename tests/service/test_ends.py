"""Where steps end, over `gsi serve`: every rule gives what it gives in the process, and what it costs is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gsi_node.models.servers.probe import connect
from gsi_node.models.servers.reach import Reach
from gsi_node.specs.load import load_model
from gsi_node.testing.models import CHECKS, Subject
from gsi_node.text.prompt import PromptSettings
from gsi_node.text.tokens import Tokens
from gsi_node.types import Ends, Key, Prefix, SamplingLaw, Step
from tests.miniature import Miniatures
from tests.models.serving import MODEL, Server
from tests.models.spellings import bigram_of, folder_of
from tests.service.running import running

KEY = Key(3, "p", 0, "draft")
LAWS = {
    "paragraph": SamplingLaw(max_step_tokens=24),
    "line": SamplingLaw(max_step_tokens=24, ends=Ends(("\n",), after_text=True)),
    "tokens:3": SamplingLaw(max_step_tokens=3, ends=Ends(())),
    "list": SamplingLaw(max_step_tokens=24, ends=Ends((". ", "a"))),
}


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Any:
    inside = Miniatures(tmp_path_factory.mktemp("miniatures")).language(dtype="float64")
    with running(model=inside) as url, load_model(f"remote:{url}") as model:  # type: ignore[attr-defined]
        yield inside, model


@pytest.mark.parametrize("rule", LAWS)
def test_every_rule_is_the_one_in_process(rule: str, remote: Any) -> None:
    inside, model = remote
    law = LAWS[rule]
    model.supports(law)
    steps = model.sample(Prefix("1+2"), 8, KEY, law)
    assert steps == inside.sample(Prefix("1+2"), 8, KEY, law)
    longer = [Step("", (*step.token_ids, 9), 0.0, False) for step in steps]
    found = model.score(Prefix("1+2"), longer, law)
    assert found == inside.score(Prefix("1+2"), longer, law)
    ended = [i for i, step in enumerate(steps) if inside.step_ends(law).length(step.token_ids) is not None]
    assert all(found[i].log_prob == float("-inf") for i in ended) and (ended or rule == "tokens:3")


@pytest.mark.parametrize("rule", LAWS)
def test_contract(rule: str, remote: Any) -> None:
    for check in CHECKS:
        if check.__name__ in ("check_score_is_log_prob", "check_cut", "check_batch_is_singles"):
            check(Subject(lambda: remote[1], 1e-9, LAWS[rule], eos=3))


def test_a_served_server_tells_its_bounds_and_what_lay_beyond(tmp_path: Path) -> None:
    """`gsi serve --model server:…`: the certified error and the tokens beyond an end reach the client."""
    folder = str(folder_of("byte-level", tmp_path))
    prompt = PromptSettings(template="{problem}")
    law = LAWS["paragraph"]
    with Server(bigram_of(Tokens.of_folder(folder, "t", prompt)), folder=folder) as server:
        server.streaming.tokens = 5
        inner = connect("server", [f"{server.url}/v1"], MODEL, prompt=prompt, reach=Reach(attempts=2))
        with running(model=inner) as url, load_model(f"remote:{url}") as model:  # type: ignore[attr-defined]
            steps, wanted = model.sample(Prefix("1+2"), 8, KEY, law), inner.sample(Prefix("1+2"), 8, KEY, law)
        inner.close()
    assert steps == wanted and steps[0].log_prob_error > 0.0
    assert [step.beyond for step in steps] == [step.beyond for step in wanted] and sum(s.beyond for s in steps) > 0
