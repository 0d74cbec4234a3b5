"""`evals compare` and `evals paper`: pairing, refusals, and commands that parse."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from pathlib import Path

import pytest

from evals.report import compare, paper
from gsi_node.specs.grammar import parse_spec
from gsi_node.specs.kinds import MODELS
from gsi_node.specs.load import check_spec
from tests.evals.synthetic import campaign, failed, write


def compared(capsys: pytest.CaptureFixture[str], first: Path, second: Path) -> tuple[int, str, str]:
    parser = ArgumentParser()
    compare.add_arguments(parser)
    code = compare.main(parser.parse_args([str(first), str(second)]))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_run_against_itself_is_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "a", list(campaign(10, ("gsi", "base"), (4,), (0, 1))))
    code, out, _ = compared(capsys, folder, folder)
    assert code == 0 and "Differing settings: none." in out
    lines = [line for line in out.splitlines() if line.startswith("| pocket")]
    assert len(lines) == 2 and all("+0.0 [" in line and "1.00 [1.00, 1.00]" in line for line in lines)


def test_a_better_cheaper_run_is_told_by_common_problems_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(campaign(30, ("gsi",), (4,), (0,)))
    for row in rows:
        row["correct"] = row["index"] % 3 == 0
    better = [
        row | {"correct": row["index"] % 3 != 1, "flops": {r: f / 2 for r, f in row["flops"].items()}} for row in rows
    ]
    first = write(tmp_path / "a", rows, {"config": {"beta": 20.0}})
    second = write(tmp_path / "b", [*better[:27], failed(better[27])], {"config": {"beta": 5.0}})
    code, out, _ = compared(capsys, first, second)
    assert code == 0
    assert "config.beta: 20.0 in A, 5.0 in B" in out and "0 in A, 1 in B" in out
    line = next(line for line in out.splitlines() if line.startswith("| pocket"))
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[1] == "28 × 1" and cells[5] == "9 : 1"  # rows 28 and 29 are in A only; the failed 27 was right there
    assert cells[8] == "0.50 [0.50, 0.50]"


def test_one_setting_each_may_differ_in_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(tmp_path / "a", list(campaign(10, ("rsd-n",), (4,), (0,))))
    second = write(tmp_path / "b", list(campaign(10, ("gsi",), (16,), (0,))))
    code, out, _ = compared(capsys, first, second)
    assert code == 0 and "pocket: rsd-n, n = 4 → gsi, n = 16" in out


def test_nothing_in_common_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(tmp_path / "a", list(campaign(3, ("rsd-n", "gsi"), (4,), (0,))))
    for rows in (
        list(campaign(3, ("gsi", "base"), (1,), (0,))),
        list(campaign(3, ("gsi", "rsd-n"), (4,), (7,))),
        [],
    ):
        code, _, err = compared(capsys, first, write(tmp_path / "b", rows))
        assert code == 2 and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize("preset", sorted(paper.PRESETS))
@pytest.mark.parametrize(
    "where",
    [[], ["--devices", "cpu, cuda:1,cuda"], ["--servers", "http://a:1/v1,http://b:2/v1,http://c:3/v1"]],
    ids=["default", "devices", "servers"],
)
def test_the_papers_commands_are_commands_of_this_harness(
    preset: str, where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from evals.run import command as run

    parser = ArgumentParser()
    paper.add_arguments(parser)
    assert paper.main(parser.parse_args(["--preset", preset, *where])) == 0
    out = capsys.readouterr().out
    commands = [shlex.split(block) for block in out.replace("\\\n", " ").split("\n") if "evals run" in block]
    assert len(commands) == len(paper.SETS) + 1
    for command in commands:
        harness = ArgumentParser()
        run.add_arguments(harness)
        options = harness.parse_args(command[4:])
        assert options.set[:2] == [("beta", "20"), ("threshold", "0.5")]
        for spec in (options.draft, options.base):
            parsed = check_spec(spec, MODELS, "model")
            boxes = str(parsed).count("boxed")
            assert boxes == 1 + (options.data == "minerva_math") and "put your final answer" in str(parsed)
            assert dict(parsed[0].options).get("enable_thinking") == ("false" if preset == "qwen3" else None)
        given = [options.draft, options.base, options.reward]
        told = [dict(parse_spec(spec)[0].options).get("device") for spec in given]
        devices = {"--devices": ["cpu", "cuda:1", "cuda"], "--servers": [None] * 3}
        assert told == devices.get(" ".join(where[:1]), ["cuda:0", "cuda:1", "cuda:2"])
    figures = {"qwen2.5-math": ("0.82", "0.72", "0.94", "H100"), "qwen3": ("0.915", "1.21", "1.82", "A100")}
    assert all(figure in out for figure in figures[preset])
    assert ("was not at hand to check them" in out) == (preset == "qwen3")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--servers", "http://a,http://b"], "--servers: want three"),
        (["--servers", "http://a,,http://c"], "--servers: want three"),
        (["--servers", "http://a,b:8000,http://c"], "server address 'b:8000' is no URL"),
        (["--servers", "http://a,http://b:99999,http://c"], "server address 'http://b:99999' is no URL"),
        (["--servers", "http://a,http://u:p@b,http://c"], "give keys in the environment"),
        (["--devices", "cuda:0,cuda:1"], "--devices: want three"),
        (["--devices", "cuda:0,gpu1,cuda:2"], "'gpu1' is no device"),
        (["--draft", "hf:Qwen/Qwen3-1.7B"], "--draft: 'hf:Qwen/Qwen3-1.7B' is no hub name"),
        (["--base", "a&b"], "--base: 'a&b' is no hub name"),
        (["--base", ""], "--base: '' is no hub name"),
        (["--draft", "a\0b"], "no file and no server has"),
    ],
    ids=lambda value: " ".join(value).replace("\0", "0") if isinstance(value, list) else "",
)
def test_what_no_command_could_take_is_one_line_and_nothing_is_printed(
    given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = ArgumentParser()
    paper.add_arguments(parser)
    assert paper.main(parser.parse_args(given)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and told in err
