"""Arguments of chat templates and the day they write, in specs and prompt files: what reaches the template."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gsi_node.cli.__main__ import main
from gsi_node.errors import ConfigError, GSIError, SpecError
from gsi_node.graph.build import compile_gsi
from gsi_node.models.transformers import TransformersModel
from gsi_node.rewards.prm.families import FAMILIES
from gsi_node.rewards.prm.layout import LayoutOptions
from gsi_node.specs.load import load_model, load_reward
from gsi_node.step.config import GSIConfig
from gsi_node.tables.rewards import TableReward
from gsi_node.text import chat_template
from gsi_node.text.codec import Codec
from gsi_node.types import Prefix
from tests.miniature import build_miniature, miniature_tokenizer
from tests.models.serving import MODEL, Bigram, Server
from tests.service.running import running
from tests.text import templates

Folders = Callable[[str], Path]
ALL_NAMES = (
    "{% macro inner() %}{{ in_macro }}{% endmacro %}{% set effort = effort | default('low') %}"
    "{% if not sure is defined %}{% set sure = false %}{% endif %}{{ inner() }}{{ effort }}{{ sure }}"
    "{% generation %}{{ messages[0].content }}{% endgeneration %}{{ bos_token }}"
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The folder of one miniature, with another chat template at each call."""
    folder = build_miniature(tmp_path_factory.mktemp("templated"))

    def templated(template: str) -> Path:
        (folder / "chat_template.jinja").write_text(template, "utf-8")
        return folder

    return templated


@pytest.fixture(scope="module")
def rewards(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    folder = build_miniature(tmp_path_factory.mktemp("reward"), reward=True)

    def templated(template: str) -> Path:
        (folder / "chat_template.jinja").write_text(template, "utf-8")
        return folder

    return templated


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the day of January 2026."""
    return lambda day: monkeypatch.setattr(chat_template, "today", lambda: date(2026, 1, day))


def prompt(spec: str) -> str:
    model = load_model(spec)
    assert isinstance(model, TransformersModel)
    return model.tokens.codec.decode(model.prefix_ids(Prefix("7")))


ASKED = "<|im_start|>user\n7<|im_end|>\n<|im_start|>assistant\n"
NO_THOUGHT = "<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("options", "end"),
    [
        ("", ""),
        ("?enable_thinking=false", NO_THOUGHT),
        ("?enable_thinking=true", ""),
        ('?enable_thinking="false"', ""),  # a text is not False
        ("?enable_thinking=0", ""),
        ("?system_prompt=x&enable_thinking=false", NO_THOUGHT),
    ],
)
def test_an_argument_is_a_json_value(folders: Folders, options: str, end: str) -> None:
    assert prompt(f"hf:{folders(templates.FORGETFUL)}{options}").endswith(ASKED + end)


@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_arguments_and_a_date_in_a_prompt_file(folders: Folders, tmp_path: Path, suffix: str) -> None:
    folder = folders(templates.FORGETFUL.replace("assistant\n", "assistant {{ strftime_now('%Y') }}\n"))
    file = tmp_path / f"prompt{suffix}"
    fields = {"arguments": {"enable_thinking": False}, "date": "1999-12-31"}
    toml = 'date = "1999-12-31"\n[arguments]\nenable_thinking = false\n'
    file.write_text(toml if suffix == ".toml" else json.dumps(fields), "utf-8")
    assert prompt(f"hf:{folder}?prompt={file}").endswith("assistant 1999\n" + NO_THOUGHT)
    for option, name in (("enable_thinking=true", "enable_thinking"), ("date=1999-12-31", "date")):
        with pytest.raises(ConfigError, match=f"and the spec both set {name}; leave one"):
            prompt(f"hf:{folder}?prompt={file}&{option}")
    file.write_text("[arguments]\nenable_thinking = 1999-12-31" if suffix == ".toml" else '{"arguments": 3}', "utf-8")
    with pytest.raises(ConfigError, match="arguments = .*the fields are|arguments: .* no JSON value"):
        prompt(f"hf:{folder}?prompt={file}")


def test_names_in_macros_and_defaults_are_read(folders: Folders) -> None:
    folder = folders(ALL_NAMES)
    assert prompt(f'hf:{folder}?in_macro=1&effort="high"&sure=true') == "1highTrue7<bos>"
    with pytest.raises(SpecError, match="never reads 'tone'; it reads effort, in_macro, sure; options of hf: device"):
        prompt(f"hf:{folder}?tone=1")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (
            "enable_thinking=False",
            'of hf: .*enable_thinking=False should be a JSON value; a text needs quotes: "False"',
        ),
        ("reasoning_effort=low", 'known options of hf: .* a text needs quotes: "low"'),
        ("reasoning_effort=NaN", "a JSON value"),
        ("reasoning_effort=" + "[" * 9000, "a JSON value"),
        (
            "enable_thinkin=false",
            "never reads 'enable_thinkin'; it reads enable_thinking; options of hf: device",
        ),
        ("devcie=0", "option 'devcie' is unknown; known options of hf: .*; is device meant"),
        ("cache_byte=5", "is cache_bytes meant"),
        ("messages=[]", "the renderer itself sets 'messages' of a chat template; leave it out"),
        ("tools=[]", "the renderer itself sets 'tools'"),
        ("add_generation_prompt=false", "the renderer itself sets 'add_generation_prompt'"),
        ('bos_token="a"', "the renderer itself sets 'bos_token'"),
        ('date_string="1 May"', "the renderer itself sets 'date_string' of a chat template; give .date="),
        ('enable_thinking="a<eos>"', "arguments of the chat template hold control tokens .'<eos>'."),
        ('enable_thinking="\\ud800"', "arguments: half of a surrogate pair"),
        ("enable_thinking=false&use_chat_template=false", "uses no chat template, so there is no place for arguments"),
        ("enable_thinking=false&template={problem}", "template has no place for arguments"),
        ("date=2026-01-01&template={problem}", "template has no place for date"),
        ("date=2026-01-01", "never reads .date: it writes no date"),
        ("date=2026-02-30", "date '2026-02-30' is no day; write YYYY-MM-DD"),
        ("date=20260101", "is no day; write YYYY-MM-DD"),
        ("date=today", "is no day"),
    ],
)
def test_what_never_reaches_the_template_is_refused(folders: Folders, option: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_model(f"hf:{folders(templates.FORGETFUL)}?{option}")


def test_an_include_has_nothing_to_include(folders: Folders) -> None:
    with pytest.raises(GSIError, match="chat template of .* cannot be rendered"):
        load_model(f"hf:{folders('{% include name %}')}?name=1")


def test_pocket_models_take_no_arguments() -> None:
    with pytest.raises(SpecError, match="option 'enable_thinking' is unknown; known options of pocket"):
        load_model("pocket:draft?enable_thinking=false")


def test_the_day_is_that_of_loading_and_stays(folders: Folders, clock: Callable[[int], None]) -> None:
    clock(1)
    model: Any = load_model(f"hf:{folders(templates.DATED)}")
    clock(2)  # past midnight
    texts = [model.tokens.codec.decode(model.prefix_ids(Prefix(problem))) for problem in ("7", "8")]
    assert all("Day: 01 Jan 2026\n" in text for text in texts)
    assert model.prompt_date == "2026-01-01"
    for day, told in (("1999-12-31", "31 Dec 1999"), ("9999-12-31", "31 Dec 9999"), ("2024-02-29", "29 Feb 2024")):
        assert f"Day: {told}\n" in prompt(f"hf:{folders(templates.DATED)}?date={day}")


def test_a_template_with_a_day_of_its_own(folders: Folders) -> None:
    folder = folders(templates.DATED_BY_DEFAULT)
    assert "Day: 26 Jul 2024\n" in prompt(f"hf:{folder}")
    assert "Day: 31 Dec 1999\n" in prompt(f"hf:{folder}?date=1999-12-31")


def test_a_date_that_only_tools_would_show_is_never_read(folders: Folders) -> None:
    template = templates.CHATML + "{% if tools %}{{ strftime_now('%Y') }}{% endif %}"
    with pytest.raises(ConfigError, match="never reads .date"):
        load_model(f"hf:{folders(template)}?date=2026-01-01")
    assert load_model(f"hf:{folders(template)}").prompt_date is None  # type: ignore[attr-defined]


def test_draft_and_base_of_different_days_are_told(folders: Folders, clock: Callable[[int], None]) -> None:
    folder = folders(templates.DATED)
    clock(1)
    draft = load_model(f"hf:{folder}")
    clock(2)
    base = load_model(f"hf:{folder}")
    config, reward = GSIConfig(n=1, max_steps=1, max_step_tokens=4), TableReward(lambda prefix, step: 0.5, name="half")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        graph = compile_gsi(draft=draft, base=base, reward=reward, config=config)
        graph.invoke({"problem": "1"})
    told = [str(one.message) for one in found if one.category is UserWarning]
    assert len(told) == 1
    assert "write different dates: 2026-01-01 in" in told[0] and "2026-01-02 in" in told[0]
    other = load_model(f"hf:{folders(templates.DATED_BY_DEFAULT)}")
    with pytest.warns(UserWarning, match="different dates: 2026-01-01 in .*, its own in"):
        compile_gsi(draft=draft, base=other, reward=reward, config=config)
    plain = load_model(f"hf:{folders(templates.CHATML)}")
    for same in (draft, plain, load_model(f"hf:{folders(templates.DATED)}?date=2026-01-01")):
        compile_gsi(draft=draft, base=same, reward=reward, config=config)  # a warning would be an error


def test_services_tell_the_days_of_what_they_serve(folders: Folders, clock: Callable[[int], None]) -> None:
    config, reward = GSIConfig(n=1, max_steps=1, max_step_tokens=4), TableReward(lambda prefix, step: 0.5, name="half")
    clock(1)
    draft = load_model(f"hf:{folders(templates.DATED)}")
    clock(2)
    with running(model=load_model(f"hf:{folders(templates.DATED)}")) as url:
        base: Any = load_model(f"remote:{url}")
        with base, pytest.warns(UserWarning, match="write different dates: 2026-01-01 in .*, 2026-01-02 in remote:"):
            compile_gsi(draft=draft, base=base, reward=reward, config=config)


def test_the_doctor_tells_the_days(
    folders: Folders, clock: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folders(templates.DATED)
    clock(2)
    models = ["--draft", f"hf:{folder}", "--base", f"hf:{folder}?date=1999-12-31", "--reward", "verifier"]
    settings = [part for setting in ("n=2", "max_steps=2", "max_step_tokens=4") for part in ("--set", setting)]
    assert main(["doctor", *models, "--problem", "1", *settings]) == 1
    said = capsys.readouterr().out
    assert "its template writes a date, 2026-01-02; ?date= pins it" in said
    assert "its template writes a date, 1999-12-31" in said
    assert said.count("write different dates: 2026-01-02 in") == 2  # a finding, and what to change


def test_a_served_model_is_given_arguments_and_a_date(tmp_path: Path) -> None:
    tokenizer = miniature_tokenizer()
    tokenizer.chat_template = templates.FORGETFUL.replace("assistant\n", "assistant {{ strftime_now('%Y') }}\n")
    tokenizer.save_pretrained(tmp_path)
    with Server(Bigram(len(tokenizer), (6, 7, 8)), folder=str(tmp_path)) as server:
        model: Any = load_model(f"server:{server.url}/v1#{MODEL}?enable_thinking=false&date=1999-12-31")
        with model:
            text = model.tokens.codec.decode(model.tokens.prefix_ids(Prefix("7")))
            assert text.endswith("assistant 1999\n" + NO_THOUGHT)
            assert "its template writes a date, 1999-12-31; ?date= pins it" in model.findings
        with pytest.raises(SpecError, match="never reads 'tone'; it reads enable_thinking; options of server"):
            load_model(f"server:{server.url}/v1#{MODEL}?tone=1")


def test_a_reward_model_renders_with_arguments_and_a_date(rewards: Folders) -> None:
    template = templates.FORGETFUL.replace("assistant\n", "assistant {{ strftime_now('%Y') }}\n")
    spec = f"prm:{rewards(template)}@trl-chat"
    plain, told = (load_reward(spec + options) for options in ("", "?enable_thinking=false&date=1999-12-31"))
    text: Any = told
    assert text._codec.decode(text.prefix_ids(Prefix("7"))).endswith(
        f"7<|im_end|>\n<|im_start|>assistant 1999\n{NO_THOUGHT}"
    )
    assert plain.fingerprint != told.fingerprint
    for options, words in (
        ("?tone=1", "never reads 'tone'; it reads enable_thinking; options of prm: device"),
        ("?date=1999-12-31&use_chat_template=false", "no place for date"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_reward(spec + options)
    for options in ("date=1999-12-31", "enable_thinking=false"):
        with pytest.raises(ConfigError, match="family 'trl' uses no chat template, so there is no place for"):
            load_reward(f"prm:{rewards(template)}@trl?{options}")


@pytest.mark.parametrize("family", ["rlhflow", "orm"])
def test_families_that_render_turns_render_them_with_arguments_and_a_date(family: str) -> None:
    tokenizer = miniature_tokenizer()
    tokenizer.chat_template = templates.DATED.replace("Day", "{{ what }}")
    codec = Codec(tokenizer, "mini")
    layout = FAMILIES[family].layout(codec, LayoutOptions(arguments={"what": "At"}, date="1999-12-31"), {})
    assert codec.decode(layout.before) == "<bos>At: 31 Dec 1999\n<|im_start|>user\n"
    tokenizer.chat_template = templates.CHATML
    with pytest.raises(ConfigError, match="mini never reads .date"):
        FAMILIES[family].layout(Codec(tokenizer, "mini"), LayoutOptions(date="1999-12-31"), {})
