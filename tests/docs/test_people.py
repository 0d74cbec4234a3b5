"""The recipes of docs/people.md, run in their order over table models."""

from __future__ import annotations

import re
from typing import Any

from gsi_node.graph.build import compile_gsi
from tests.docs.generated import ROOT
from tests.graph.world import config, models

PAGE = (ROOT / "docs" / "people.md").read_text("utf-8")
RECIPES = dict(re.findall(r"^## (.+?)\n.*?```python\n(.+?)```", PAGE, re.DOTALL | re.MULTILINE))


def test_every_recipe_does_what_it_says() -> None:
    names: dict[str, Any] = {**models(), "config": config(), "problem": "p"}
    whole = compile_gsi(**models(), config=config()).invoke({"problem": "p"})

    def follow(title: str) -> list[dict[str, Any]]:
        exec(compile(RECIPES[title], title, "exec"), names)
        return list(names["result"].get("steps", ()))

    written = follow("Stop before the fallback, and write the step")
    at = len(names["state"].values["steps"])
    assert names["state"].next == ("fallback",) and names["refused"] == whole["steps"][at]["rejected"]
    assert [step["source"] for step in written].count("human") == 1 and written[:at] == whole["steps"][:at]
    assert written[at]["text"] == "good by hand\n\n"
    passed = follow("Let the refused draft pass")
    assert {**names["refused"], "accepted_by": "human"} == passed[at]
    instead = follow("Take a step back, and write it")
    assert [step["text"] for step in instead[:2]] == [whole["steps"][0]["text"], "good instead\n\n"]
    follow("Go on from a past checkpoint under other settings")
    assert names["other"]["steps"][1]["fork"] == {"seed": 9}
    follow("In a node of a larger graph")
    (inside,) = names["parent"].get_state(names["thread"], subgraphs=True).tasks  # it has stopped once more
    assert inside.state.values["steps"][: at + 1] == written[: at + 1]
    follow("In the samples of the math solver")
    before = [len(sample.values["steps"]) for sample in names["samples"]]
    (second,) = (
        task.state for task in names["solver"].get_state(names["thread"], subgraphs=True).tasks if "1" in str(task.path)
    )
    assert second.values["steps"][before[1]]["text"] == "good by hand\n\n"


def test_every_recipe_is_followed() -> None:
    assert len(RECIPES) == PAGE.count("```python") == 6
