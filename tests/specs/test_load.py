"""Specs: one grammar, strict values, errors that list what is known, and nothing heavy imported before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsi_node.errors import BackendUnavailable, ConfigError, GSIError, SpecError
from gsi_node.protocols import Reward, StepModel
from gsi_node.rewards.verifier.reward import VerifierReward
from gsi_node.specs import kinds
from gsi_node.specs.grammar import Spec, parse_spec
from gsi_node.specs.kinds import SpecKind
from gsi_node.specs.load import load_model, load_reward
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.miniature import build_miniature


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("pocket:draft", (Spec("pocket", "draft"),)),
        ("verifier", (Spec("verifier"),)),
        ("verifier?prior=0.5", (Spec("verifier", options=(("prior", "0.5"),)),)),
        ("hf:/a b/c=d?device=cpu", (Spec("hf", "/a b/c=d", options=(("device", "cpu"),)),)),
        ("hf:Qwen/Qwen2.5-1.5B", (Spec("hf", "Qwen/Qwen2.5-1.5B"),)),
        ("server:http://127.0.0.1:8000/v1", (Spec("server", "http://127.0.0.1:8000/v1"),)),
        ("server:http://me@host:8000/v1@vllm", (Spec("server", "http://me@host:8000/v1", "vllm"),)),
        ("prm:/models/prm@trl?dtype=float32", (Spec("prm", "/models/prm", "trl", (("dtype", "float32"),)),)),
        ("prm:/models@home/prm", (Spec("prm", "/models@home/prm"),)),
        ("hf:x?system_prompt=a%26b%7Cc%3Fd", (Spec("hf", "x", options=(("system_prompt", "a&b|c?d"),)),)),
        ("pocket | verifier", (Spec("pocket"), Spec("verifier"))),
        ("hf:x?system_prompt=", (Spec("hf", "x", options=(("system_prompt", ""),)),)),
    ],
)
def test_grammar(text: str, specs: tuple[Spec, ...]) -> None:
    assert parse_spec(text) == specs
    assert parse_spec("|".join(map(str, specs))) == specs


NAME = st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True)
TARGET = st.from_regex(r"[A-Za-z0-9/._= -]*[A-Za-z0-9/]", fullmatch=True)
OPTIONS = st.dictionaries(NAME, st.text(max_size=8), max_size=3).map(lambda options: tuple(options.items()))


@settings(max_examples=60)
@given(st.lists(st.builds(Spec, NAME, TARGET, st.none() | NAME, OPTIONS), min_size=1, max_size=3))
def test_a_spec_reads_back_as_itself(specs: list[Spec]) -> None:
    assert parse_spec("|".join(map(str, specs))) == tuple(specs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the spec is empty"),
        ("hf:x|", "nothing on one side of '|'"),
        ("/models/base", "is no kind; did you mean hf:/models/base?"),
        ("hf:x?device", "'device' is not of the form key=value"),
        ("hf:x?device=cpu&device=cuda", "'device' is given twice"),
        ("gguf:x", r"kind 'gguf' is unknown; known: pocket \(e.g. pocket:draft\), hf \(e.g. hf:/models/base"),
        ("hf:", "names no target"),
        ("hf", "names no target"),
        ("pocket:huge", "target 'huge' is unknown; write pocket:draft or pocket:base"),
        ("pocket", "target '' is unknown"),
        ("hf:x?devise=cpu", "option 'devise' is unknown; known options of hf: device, dtype"),
        ("hf:x?cache_bytes=lots", "should be a number of bytes such as 512M"),
        ("hf:x?use_chat_template=yes", "should be true or false"),
        ("hf:x|hf:y", "joins 2 parts by '|', but hf takes one"),
    ],
)
def test_model_specs_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_model(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("verifier?prior=high", "prior='high' should be a number"),
        ("verifier?prior=0.5&bound=1", "known options of verifier: prior"),
        ("verifier:x", "target 'x' is unknown; write verifier"),
        ("prm:/x@gwen", "family 'gwen' is unknown; known: reasonflux, qwen, skywork"),
        ("pocket|verifier", "pocket takes one"),
        ("ensemble:verifier|nothing:x?how=min", "kind 'nothing' is unknown"),
        ("ensemble:verifier|verifier?how=weighted&weights=a", "weights='a' should be numbers with commas between"),
        ("ensemble:verifier|verifier?depth=3", "option 'depth' is unknown; known options of verifier: prior"),
        ("ensemble", "names no target; write for instance ensemble:verifier"),
        ("cached:verifier|verifier", "verifier takes one"),
        ("hf:x", r"reward spec 'hf:x': kind 'hf' is unknown; known: pocket .*verifier .*prm"),
    ],
)
def test_reward_specs_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_reward(text)


DIGITS = "9" * 5000
ODD = {
    f"verifier?prior={DIGITS}": "should be a number",
    "verifier?prior=1e999": "should be a number of at most 1.8e308",
    "verifier?prior=1e99999": "should be a number",
    "verifier?prior=٣": "should be a number",
    f"cached:verifier?entries={DIGITS}": "at most 18 digits",
    "cached:verifier?entries=٣": "should be a whole number",
    f"pocket?cache_bytes={DIGITS}": "should be a number of bytes",
    "verifier?prior=0.5\ud800": r"holds '\\ud800', half of a character",
    "verifier?prior=%ED%A0%80": "is no UTF-8",
    "prm:/models/\udcff?device=cpu": "rename the file",
    "prm:/models/a\x00b": "no file and no server has",
    "prm:/models/a?device=%00": "a text without",
    "prm:/models/a?device=": "a text that is not empty",
    "prm:/models/a@trl?separator=": "a text that is not empty",
    "cached:" * 9 + "verifier": "wraps 9 times, and may 8 times",
    "cached:" * 9000 + "verifier": "wraps 9000 times",
    "ensemble:verifier|" + "noisy:" * 9 + "verifier": "wraps 9 times",
    "ensemble:verifier|verifier?how=weighted&weights=1e308,1e308": "ensemble weights",
    "prm:~nobody-of-this-name/x": "cannot be read",
    "prm:" + "a" * 3000: "cannot be read: File name too long",
    "server:http://127.0.0.1:9/v1#m@trl?tokenizer=~nobody-of-this-name/x": "cannot be read",
    "calibrated:verifier?file=~nobody-of-this-name/x": "cannot be read",
    "pocket?device=meta": "holds no numbers",
    "pocket?device=xpu": "cannot be put on device 'xpu'|torch sees",
    "x" * 70_000: "has 70000 characters, and may have 65536",
    "verifier?" + "y" * 60_000: "is not of the form",
}


@pytest.mark.parametrize("whole", ODD)
def test_odd_specs_are_short_typed_errors(whole: str) -> None:
    with pytest.raises((ConfigError, BackendUnavailable), match=ODD[whole]) as refused:
        load_reward(whole)
    assert len(str(refused.value)) < 1000
    str(refused.value).encode()  # it can be printed


@pytest.mark.parametrize("spec", [None, 5, Path("/models"), b"pocket"])
def test_a_spec_is_a_text(spec: Any) -> None:
    for loads in (load_model, load_reward):
        with pytest.raises(SpecError, match=f"not a {type(spec).__name__}"):
            loads(spec)


WORDS = "pocket verifier cached: noisy: ensemble: hf: prm: server: http://h how=min prior=1 share=2 entries=0"
PIECES = (*WORDS.split(), *"|?&=@#%:-∞\ud800\x00", "1e999")


@settings(max_examples=300, deadline=500)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=12).map("".join)))
def test_whatever_a_spec_holds(whole: str) -> None:
    """Nothing but typed errors; the kinds that load files or ask servers are replaced by what they would be given."""
    told: dict[str, SpecKind] = {
        name: kind if kind.wraps or name == "verifier" else replace(kind, load=lambda specs, options: VerifierReward())
        for name, kind in {**kinds.REWARDS, **kinds.MODELS}.items()
    }
    with mock.patch.dict(kinds.REWARDS, told), mock.patch.dict(kinds.MODELS, told):
        for loads in (load_model, load_reward):
            try:
                loads(whole)
            except GSIError as error:
                str(error).encode()
                assert len(str(error)) < 3000


def test_values_reach_the_loader_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def fake(specs: tuple[Spec, ...], options: dict[str, Any]) -> None:
        seen.append({"target": specs[0].target, **options})

    real = kinds.MODELS["hf"]
    monkeypatch.setitem(kinds.MODELS, "hf", SpecKind(real.example, fake, real.options))
    load_model("hf:/m@2024?device=auto&cache_bytes=2G&logits_bytes=5&use_chat_template=false&system_prompt=Be brief.")
    assert seen == [
        {
            "target": "/m@2024",
            "device": "auto",
            "cache_bytes": 2 << 30,
            "logits_bytes": 5,
            "use_chat_template": False,
            "system_prompt": "Be brief.",
        }
    ]


def test_a_kind_may_take_several(monkeypatch: pytest.MonkeyPatch) -> None:
    several = SpecKind("mix:a|mix:b", lambda specs, options: [spec.target for spec in specs], many=True)
    monkeypatch.setitem(kinds.REWARDS, "mix", several)
    loaded: object = load_reward("mix:a|mix:b")
    assert loaded == ["a", "b"]


def test_wrappers_take_their_own_options_from_the_last_part() -> None:
    step = [Step(text, (1,), 0.0, False) for text in ("2 + 2 = 4", "2 + 2 = 5", "so")]
    said = {
        "ensemble:verifier|verifier?how=min": [1.0, 0.0, 1.0],  # nothing to check: nothing said
        "ensemble:verifier|verifier?prior=0.25&how=min": [1.0, 0.0, 0.25],
        "ensemble:verifier?prior=0.25|verifier?prior=0.75": [1.0, 0.0, 0.5],
        "ensemble:verifier?prior=0|verifier?how=weighted&weights=1,3&prior=1": [1.0, 0.0, 0.75],
        "cached:ensemble:verifier|verifier?how=product&entries=9": [1.0, 0.0, 1.0],
        "cached:verifier?prior=0.125": [1.0, 0.0, 0.125],
    }
    assert {spec: load_reward(spec)(Prefix("p"), step) for spec in said} == said


def test_a_folder_is_loaded_and_works(tmp_path: Path) -> None:
    folder = build_miniature(tmp_path / "a folder=with?marks")
    with pytest.raises(SpecError, match="not of the form"):
        load_model(f"hf:{folder}")  # its "?" starts the options
    folder = folder.rename(tmp_path / "a folder=with @marks")
    model = load_model(f"hf:{folder}?dtype=float64")
    assert isinstance(model, StepModel)
    law = SamplingLaw(max_step_tokens=4)
    assert model.sample(Prefix("1"), 1, Key(0, "", 0, "draft"), law)
    reward = load_reward(f"prm:{build_miniature(tmp_path / 'prm', reward=True)}@trl?separator=%0A")
    assert isinstance(reward, Reward)
    assert isinstance(load_reward("verifier?prior=0.25"), Reward)


def test_errors_of_loading_come_through(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="does not exist"):
        load_model(f"hf:{tmp_path}/none")
    with pytest.raises(ConfigError, match="dtype 'int8' is unknown"):
        load_model(f"hf:{tmp_path}?dtype=int8")


def test_importing_and_parsing_loads_nothing_heavy() -> None:
    code = (
        "import sys, gsi_node.specs.load as load, gsi_node.specs.grammar as spec\n"
        "spec.parse_spec('hf:x?dtype=float32'); load.load_reward('verifier')\n"
        "import json; print(json.dumps([m for m in ('torch', 'transformers', 'numpy.random') if m in sys.modules][:2]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers"}.intersection(json.loads(done.stdout))


def test_a_dialect_is_one_file_and_one_row() -> None:
    """A kind planted among the dialects is a kind of specs, with no other word."""
    code = (
        "from gsi_node.models.servers.dialects import DIALECTS, VLLM\n"
        "class Mine(VLLM): kind, example, about_paths = 'mine', 'mine:http://HOST:1/v1#MODEL', ('/mine',)\n"
        "DIALECTS['mine'] = Mine()\n"
        "from gsi_node.errors import BackendUnavailable, SpecError\n"
        "from gsi_node.specs.load import load_model\n"
        "for spec in ('mine:http://127.0.0.1:9/v1#m?attempts=1', 'yours:x'):\n"
        "    try: load_model(spec)\n"
        "    except (BackendUnavailable, SpecError) as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    reached, known = done.stdout.splitlines()
    assert reached.startswith("BackendUnavailable http://127.0.0.1:9/v1: asking what it serves: the connection failed")
    assert "mine (e.g. mine:http://HOST:1/v1#MODEL)" in known
