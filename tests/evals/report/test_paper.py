"""`evals paper` against the published settings and on miniatures, its GPU hours, and `evals report --published`."""

from __future__ import annotations

import json
import shlex
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest

from evals.__main__ import main as evals
from evals.report import paper
from evals.report.published import PAIRS, read_published
from evals.rows.lines import read_rows
from evals.run import command as run
from gsi_node.specs.grammar import parse_spec
from gsi_node.step.config import GSIConfig
from gsi_node.step.layers import validated
from gsi_node.tools.bench_sizes import SizeCell, SizesRecord
from gsi_node.tools.step_parts import StepSeconds
from tests.evals.synthetic import campaign, write
from tests.miniature import TEMPLATE, build_miniature
from tests.rewards.family_models import build_family

Capture = pytest.CaptureFixture[str]
GENERAL = "Please reason step by step, and put your final answer within \\boxed{}."
UNITS = " Do not include units in your final answer. For example, if the answer is `5 m/s`, write `\\boxed{5}`."
PROBLEMS = {
    "math500": {"problem": "1+1?", "answer": "2"},
    "minerva_math": {"problem": "1+1?", "solution": "\\boxed{2}"},
}


def printed(capsys: Capture, *given: str) -> tuple[str, list[list[str]]]:
    """What is printed, and the words of its runs."""
    assert evals(["paper", *given]) == 0
    out = capsys.readouterr().out
    lines = out.replace("\\\n", " ").split("\n")
    return out, [shlex.split(line)[3:] for line in lines if line.startswith("python -m evals run")]


def options_of(words: list[str]) -> Namespace:
    parser = ArgumentParser()
    run.add_arguments(parser)
    return parser.parse_args(words[1:])


@pytest.mark.parametrize("preset", PAIRS)
def test_every_setting_is_the_published_one(preset: str, capsys: Capture) -> None:
    """arXiv 2506.04118 §5, and main.py, job.slurm, inference/speculative.py of its authors' code, word by word."""
    out, commands = printed(capsys, "--preset", preset)
    assert tuple(read_published()) == PAIRS == tuple(paper.PRESETS)
    runs = [options_of(words) for words in commands]
    assert [one.data for one in runs] == ["math500", "olympiadbench", "minerva_math", "mmlu_stem", "gsm8k", "math500"]
    for one in runs[:-1]:
        assert (one.limit, one.n, one.seeds) == (500, [1, 4, 16, 64], [0, 1, 2])
        assert one.methods == ["gsi", "rsd-n", "sbon-draft", "sbon-base"] and one.concurrency == 16
    assert (runs[-1].n, runs[-1].concurrency, runs[-1].workers) == ([16], 1, 1)
    for one in runs:
        config = validated(dict(one.set) | {"method": "gsi", "n": 16})
        assert (config.beta, config.threshold, config.delta, config.temperature, config.top_p) == (20, 0.5, 0.7, 0.7, 1)
        assert (config.max_step_tokens, config.max_steps, config.resolved_step_end) == (512, 45, "paragraph")
        assert config.n_fallback is None and config.max_thinking_tokens is None
        for spec in (one.draft, one.base):
            asked = dict(parse_spec(spec)[0].options)
            assert asked["system_prompt"] == GENERAL + UNITS * (one.data == "minerva_math")
            assert asked["dtype"] == "bfloat16" and asked.get("enable_thinking") == (
                "false" if preset == "qwen3" else None
            )
        assert one.reward == "prm:Qwen/Qwen2.5-Math-PRM-7B@qwen?device=cuda:2&dtype=bfloat16"
    assert f"report runs/paper-{preset}/latency --published {preset}" in out
    assert GSIConfig().max_steps != 45  # so it has to be said


@pytest.mark.parametrize("preset", PAIRS)
def test_the_commands_run_on_miniatures(
    preset: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are printed, but for fewer and shorter steps, one seed and n of 1 and 2; Qwen3's template asks whether to
    think, and thinks unless it is told."""
    folders = [build_miniature(tmp_path / role, architecture="qwen2", seed=k) for k, role in enumerate("db")]
    folders.append(build_family(tmp_path, "qwen"))
    for folder in folders:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1024}))
        vocabulary = (folder / "tokenizer.json").read_text()  # the prompts have marks that no other test needs
        (folder / "tokenizer.json").write_text(vocabulary.replace('"*":', '"?":').replace('";":', '"`":'))
        if preset == "qwen3" and folder is not folders[-1]:
            shut = "{% if add_generation_prompt and enable_thinking is false %} so so{% endif %}"
            (folder / "chat_template.jinja").write_text(TEMPLATE + shut)
    given = [part for role, folder in zip(paper.ROLES, folders, strict=True) for part in (f"--{role}", str(folder))]
    _, commands = printed(capsys, "--preset", preset, *given, "--devices", "cpu,cpu,cpu")
    for name, problem in PROBLEMS.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(problem) + "\n")
    monkeypatch.setenv("GSI_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    fewer = {
        "1,4,16,64": "1,2",
        "0,1,2": "0",
        "max_step_tokens=512": "max_step_tokens=6",
        "max_steps=45": "max_steps=2",
    }
    for words in commands:
        if options_of(words).data in PROBLEMS and "1,4,16,64" in words:
            assert evals([fewer.get(word, word) for word in words]) == 0
            rows = read_rows(tmp_path / options_of(words).out)
            assert len(rows) == 8 and all(row.error is None and row.steps for row in rows)
            capsys.readouterr()
            assert evals(["report", str(options_of(words).out), "--published", preset, "--no-plots"]) == 0
            assert f"{read_published()[preset][0].value:g}" in capsys.readouterr().out


def test_gpu_hours(tmp_path: Path, capsys: Capture) -> None:
    """Three GPUs, 4 × 500 + 272 problems, 3 seeds, 10 steps: 0.72 s a step is 40.9 hours."""
    out, _ = printed(capsys)
    cells = {line.split("|")[1].strip(): line.split("|")[2:5] for line in out.splitlines() if line.startswith("| ")}
    assert [cell.strip() for cell in cells["gsi"]] == ["16", "0.72", f"{3 * 2272 * 3 * 10 * 0.72 / 3600:.3g}"]
    assert cells["all"][2].strip() == f"{3 * 2272 * 3 * 10 * (0.72 + 0.94) / 3600:.3g}"
    out, _ = printed(capsys, "--steps", "20", "--devices", "cuda:0,cuda:0,cuda:1")
    assert f" {2 * 2272 * 3 * 20 * 0.72 / 3600:.3g} |" in out and "2 GPUs held" in out
    parts = StepSeconds(draft=1.0, draft_after_base=2.0, score=0.2, reward=0.1, judged=0.25, base=4.0, base_reward=0.5)
    cell = SizeCell(n=4, prefix=256, read=256, tokens=40, distinct=4, seconds=parts, rates=[], acceptance=[])
    sizes = tmp_path / "sizes.json"
    sizes.write_text(SizesRecord(models={}, repeats=1, cells=[cell]).model_dump_json())
    out, _ = printed(capsys, "--sizes", str(sizes))
    drafting, fallback = 0.82 * 1.0 + 0.18 * 2.0, 0.18 * 4.5
    for method, seconds in {
        "gsi": drafting + 0.25 + fallback,
        "rsd-n": drafting + 0.1 + fallback,
        "sbon-draft": 1.1,
        "sbon-base": 4.5,
    }.items():
        line = next(line for line in out.splitlines() if line.startswith(f"| {method} ") and "arXiv" not in line)
        hours = 3 * 2272 * 3 * 10 * seconds / 3600
        assert [cell.strip() for cell in line.split("|")[2:5]] == ["4", f"{seconds:.3g}", f"{hours:.3g}"]
    assert evals(["paper", "--sizes", str(tmp_path / "none.json")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_published_figures_stand_beside_a_run(tmp_path: Path, capsys: Capture) -> None:
    folder = write(tmp_path / "run", list(campaign(20, ("gsi", "sbon-base"), (4, 16), (0,), concurrency=1, workers=1)))
    assert evals(["report", str(folder), "--published", "qwen2.5-math", "--no-plots"]) == 0
    out = capsys.readouterr().out
    summary = json.loads((folder / "report" / "summary.json").read_text())
    arm = next(one for one in summary["settings"] if one["method"] == "gsi" and one["n"] == 16)
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if "arXiv 2506.04118" in line
    ]
    assert [line[:4] for line in lines] == [
        ["acceptance", "gsi", "16", "0.82"],
        ["seconds a step", "gsi", "16", "0.72"],
        ["seconds a step", "sbon-base", "16", "0.94"],
    ]
    assert lines[0][4].startswith(f"{arm['acceptance']['value']:.3f} [")
    assert lines[0][5] == f"{arm['acceptance']['value'] / 0.82:.2f}"
    assert lines[1][4].startswith(f"{arm['seconds']['per_step']['value']:.3f} [")
    mean = next(line for line in out.splitlines() if "0.597 ± 0.008" in line and "| gsi" in line)
    assert [cell.strip() for cell in mean.split("|")[5:7]] == ["–", "–"]  # one set is no mean over three
    assert "Published: qwen2.5-math" in (folder / "report" / "report.html").read_text()
