"""Model folders from strangers: none of their code runs, no pickle is read, and what is broken is a typed error."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gsi_node.errors import BackendUnavailable, GSIError
from gsi_node.specs.load import load_model, load_reward
from tests.miniature import Miniatures

Edit = Callable[[Path], object]


@pytest.fixture
def folder(miniatures: Miniatures, tmp_path: Path) -> Path:
    """A miniature to break."""
    return shutil.copytree(miniatures.folder(), tmp_path / "model")


def fields(file: str, **values: Any) -> Edit:
    """Sets fields of a JSON file."""
    return lambda folder: (folder / file).write_text(
        json.dumps({**json.loads((folder / file).read_text("utf-8")), **values}), "utf-8"
    )


def text(file: str, content: str) -> Edit:
    return lambda folder: (folder / file).write_text(content, "utf-8")


def template(content: str) -> Edit:
    return text("chat_template.jinja", content)


def index(*files: str) -> Edit:
    """An index of weights instead of the weights."""

    def edit(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
        (folder / "weights.bin").write_bytes(pickle.dumps(Trap(str(folder.parent / "trapped"))))
        content = {"metadata": {}, "weight_map": {str(i): name for i, name in enumerate(files)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(content), "utf-8")

    return edit


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def custom_code(file: str, **values: Any) -> Edit:
    def edit(folder: Path) -> None:
        trapped = str(folder.parent / "trapped")
        code = f"import os; os.mkdir({trapped!r})\nfrom transformers import LlamaConfig as C, LlamaForCausalLM as M\n"
        (folder / "custom.py").write_text(code, "utf-8")
        fields(file, **values)(folder)

    return edit


AUTO = {"AutoConfig": "custom.C", "AutoModelForCausalLM": "custom.M"}


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (custom_code("config.json", auto_map=AUTO, model_type="unheard-of"), "custom code"),
        (custom_code("tokenizer_config.json", auto_map={"AutoTokenizer": ["custom.C", None]}), None),
        (custom_code("config.json", auto_map=AUTO), None),
        (index("weights.bin"), "names 'weights.bin', which is no safetensors file"),
        (index("../outside.safetensors"), "names '../outside.safetensors'"),
    ],
    ids=["unknown type", "tokenizer", "known type", "pickle in an index", "a file elsewhere"],
)
def test_nothing_in_a_folder_is_run(folder: Path, edit: Edit, words: str | None) -> None:
    """words: of the refusal; None where the folder does without its code."""
    edit(folder)
    for load, kind in ((load_model, "hf:"), (load_reward, "prm:")):
        spec = f"{kind}{folder}" + ("@orm" if kind == "prm:" else "")
        if words is None and kind == "hf:":
            load(spec)
        else:
            with pytest.raises(GSIError, match=words):
                load(spec)
    assert not (folder.parent / "trapped").exists()


BROKEN: dict[str, Edit] = {
    "null": text("config.json", "null"),
    "list": text("config.json", "[]"),
    "deep": text("config.json", "[" * 100_000),
    "digits": text("config.json", '{"model_type": "llama", "hidden_size": ' + "9" * 5000 + "}"),
    "bytes": lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"),
    "negative size": fields("config.json", hidden_size=-5),
    "size in words": fields("config.json", hidden_size="many"),
    "sizes that differ": fields("config.json", vocab_size=7),
    "no layers": fields("config.json", num_hidden_layers=-1),
    "wrong EOS": fields("config.json", eos_token_id="x"),
    "wrong EOS to generate": fields("generation_config.json", eos_token_id=["x"]),
    "generation list": text("generation_config.json", "[]"),
    "tokenizer deep": text("tokenizer.json", "[" * 100_000),
    "tokenizer null": text("tokenizer.json", "null"),
    "tokenizer empty": text("tokenizer.json", "{}"),
    "settings deep": text("tokenizer_config.json", "[" * 100_000),
    "settings list": text("tokenizer_config.json", "[]"),
    "weights cut": lambda folder: os.truncate(folder / "model.safetensors", 1000),
    "weights header": lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}"),
    "index list": text("model.safetensors.index.json", "[]"),
    "index deep": text("model.safetensors.index.json", "[" * 100_000),
    "index numbers": text("model.safetensors.index.json", '{"weight_map": {"a": 1}}'),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_folder_is_a_typed_error(folder: Path, what: str) -> None:
    BROKEN[what](folder)
    with pytest.raises(BackendUnavailable) as caught:
        load_model(f"hf:{folder}")
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ raise_exception('no') }}",
        "{% for %}",
        "{{ 1 / 0 }}",
        "{{ messages + 1 }}",
        "{{ a.b.c }}",
        "{{ 10 ** 5000 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
    ],
)
def test_a_template_is_rendered_in_a_sandbox(folder: Path, content: str) -> None:
    template(content)(folder)
    with pytest.raises(GSIError, match="chat template of .* cannot be rendered"):
        load_model(f"hf:{folder}")
