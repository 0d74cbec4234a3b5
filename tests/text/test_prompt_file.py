"""Prompts per model, in the spec or a small file: what the model is given, id by id, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gsi_node.errors import ConfigError
from gsi_node.models.transformers import TransformersModel
from gsi_node.specs.load import load_model
from gsi_node.text.codec import Codec
from gsi_node.text.prompt import PromptSettings, prompt_format
from gsi_node.text.prompt_file import read_prompt
from gsi_node.types import Prefix
from tests.miniature import Miniatures, miniature_tokenizer

SHOTS = [{"role": "user", "content": "1+1 <eos>"}, {"role": "assistant", "content": "is 2."}]
OPTIONS: list[dict[str, Any]] = [{}, {"messages": SHOTS}, {"template": "{problem}"}]
RENDERED = (
    "<bos><|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n1+1 <eos><|im_end|>\n"
    "<|im_start|>assistant\nis 2.<|im_end|>\n<|im_start|>user\n7<|im_end|>\n<|im_start|>assistant\n"
)


def ids_of(**options: Any) -> tuple[int, ...]:
    return prompt_format(Codec(miniature_tokenizer()), PromptSettings(**options), ending="\n\n").ids("7")


def test_earlier_turns_are_carried_and_open_no_control_token() -> None:
    codec = Codec(miniature_tokenizer())
    ids = ids_of(system_prompt="Be kind.", messages=SHOTS)
    assert codec.decode(ids) == RENDERED
    assert 3 not in ids  # "<eos>" in a turn is text
    assert ids.count(4) == ids.count(5) + 1 == 5
    assert ids_of(messages=[]) == ids_of()


def test_turns_and_the_system_prompt_stand_in_the_fingerprint(miniatures: Miniatures) -> None:
    found = {miniatures.language(options={"prompt": PromptSettings(**options)}).fingerprint for options in OPTIONS}
    assert len(found) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"messages": [{"role": "system", "content": "x"}]}, "the role is user or assistant"),
        ({"messages": ["hi"]}, "want {"),
        ({"messages": SHOTS, "use_chat_template": False}, "no place for messages"),
        ({"system_prompt": "x", "use_chat_template": False}, "no place for system_prompt"),
        ({"messages": SHOTS, "template": "{problem}"}, "no place for messages"),
        ({"template": "{problem} {problem}"}, "write it once"),
    ],
)
def test_what_has_no_place_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ids_of(**options)


HALF = "a\ud800"


@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_a_file_says_what_the_spec_would(suffix: str, tmp_path: Path, miniatures: Miniatures) -> None:
    file = tmp_path / f"prompt{suffix}"
    turns = "".join(f'[[messages]]\nrole = "{m["role"]}"\ncontent = "{m["content"]}"\n' for m in SHOTS)
    toml = f'system_prompt = "Be kind."\n{turns}'
    file.write_text(
        toml if suffix == ".toml" else json.dumps({"system_prompt": "Be kind.", "messages": SHOTS}), "utf-8"
    )
    model = load_model(f"hf:{miniatures.folder()}?prompt={file}")
    assert isinstance(model, TransformersModel)
    assert model.prefix_ids(Prefix("7")) == ids_of(system_prompt="Be kind.", messages=SHOTS)
    assert "1+1 <eos>" in model.findings[0]  # what the doctor prints


def test_templates_in_the_spec(miniatures: Miniatures) -> None:
    model = load_model(f"hf:{miniatures.folder()}?template=Q: {{problem}} A:")
    assert isinstance(model, TransformersModel)
    assert model.tokens.codec.decode(model.prefix_ids(Prefix("7"))) == "Q: 7 A:"


def test_wrong_files(tmp_path: Path, miniatures: Miniatures) -> None:
    file = tmp_path / "p.json"
    with pytest.raises(ConfigError, match="p.json: No such file"):
        read_prompt(str(file))
    for content, words in (
        ("{", "p.json: not JSON"),
        ("[]", "want an object"),
        ('{"sytem_prompt": "x"}', "the fields are system_prompt"),
        ('{"use_chat_template": "no"}', "use_chat_template = 'no'"),
    ):
        file.write_text(content, "utf-8")
        with pytest.raises(ConfigError, match=words):
            read_prompt(str(file))
    for name in ("p.json", "p.toml"):
        (tmp_path / name).write_text(f"{'a = ' if name == 'p.toml' else ''}{'[' * 100_000}", "utf-8")
        with pytest.raises(ConfigError, match=f"{name}: (JSON nested too deeply|not TOML: maximum recursion)"):
            read_prompt(str(tmp_path / name))
    halves = {"system_prompt": HALF, "template": HALF + "{problem}", "messages": [SHOTS[0] | {"content": HALF}]}
    for option, value in halves.items():
        file.write_text(json.dumps({option: value}), "utf-8")
        with pytest.raises(ConfigError, match=rf"{option}: half of a surrogate pair \('.ud800'\) at character 1"):
            load_model(f"hf:{miniatures.folder()}?prompt={file}")
    file.write_bytes(b'\xef\xbb\xbf{"system_prompt": "x"}')  # a byte order mark, as some editors write it
    with pytest.raises(ConfigError, match="both set system_prompt"):
        load_model(f"hf:{miniatures.folder()}?prompt={file}&system_prompt=y")
