"""`gsi bench --models` and `--shape`: the schedule and its arithmetic on models that take known time, bounds by hand,
whole commands on tiny shapes, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
import torch

from gsi_node.bases import RewardBase, StepModelBase
from gsi_node.cli.__main__ import main
from gsi_node.engine.packing import PackedLinear
from gsi_node.errors import ConfigError, SpecError, VocabularyMismatch
from gsi_node.tools import machine, shapes
from gsi_node.tools.bench_sizes import SizesRecord, measure_sizes, read_sizes, tables
from gsi_node.tools.machine import MachineSpeed, NetworkSize
from gsi_node.tools.step_parts import PartTimer, StepSize, problem_of
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step

TINY = ["bench", "--shape", "tiny,tiny,tiny-prm", "--tokens", "4", "--repeats", "1"]


@dataclass
class Clock:
    """Seconds that pass only where a model works, and who worked."""

    now: float = 0.0
    log: list[str] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def work(self, name: str, seconds: float) -> None:
        with self.lock:
            self.now += seconds
            self.log.append(name)


class Timed(StepModelBase):
    """A model whose calls take known time: more to write behind a step that it has not seen."""

    vocabulary = "timed"

    def __init__(self, role: str, clock: Clock, write: float, unseen: float) -> None:
        self.role, self.clock, self.write, self.unseen = role, clock, write, unseen
        self.laws: set[SamplingLaw] = set()

    @property
    def fingerprint(self) -> str:
        return self.role

    def supports(self, law: SamplingLaw) -> None:
        """All."""

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text))

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        behind = "" if not prefix.steps else "+" + prefix.steps[-1].text[0]
        cold = 8.0 * (not self.clock.log)  # the first call of all
        self.clock.work(f"{self.role} writes{behind}", self.write + self.unseen * (behind == "+b") + cold)
        self.laws.add(law)
        text = self.role[0] * law.max_step_tokens
        return [Step(text, (i, *range(1, law.max_step_tokens)), -1.0, False) for i in range(n)]

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        self.clock.work(f"{self.role} scores", 0.25)
        return [Score(-1.0)] * len(steps)


class TimedReward(RewardBase):
    """0.125 s for drafts, 0.5 s for what the base wrote."""

    fingerprint = "timed"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        drafted = steps[0].text.startswith("d")
        self.clock.work("reward", 0.125 if drafted else 0.5)
        return [0.5] * len(steps)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> tuple[Clock, dict[str, Any]]:
    clock = Clock()
    monkeypatch.setattr("gsi_node.tools.step_parts.time.perf_counter", lambda: clock.now)
    parts = {"draft": Timed("draft", clock, 1.0, 0.75), "base": Timed("base", clock, 4.0, 0.0)}
    return clock, {**parts, "reward": TimedReward(clock)}


def test_the_schedule_and_the_seconds_of_each_part(timed: tuple[Clock, dict[str, Any]]) -> None:
    """A refused step, an accepted one behind the base's, one of sbon-base; the first round is not counted."""
    clock, parts = timed
    found = PartTimer(parts, StepSize(n=3, prefix=40, tokens=5)).measure(1)
    judged = ["base scores", "reward"]
    refused = ["draft writes", *judged, *judged, "base writes", "reward"]
    accepted = ["draft writes+b", *judged, *judged]
    assert len(clock.log) == 2 * (len(refused) + len(accepted) + 2)
    assert clock.log[:3] == refused[:3] and clock.log[5:8] == [*refused[5:], "draft writes+b"]
    assert clock.log[12:14] == ["base writes", "reward"]
    assert (found.draft, found.draft_after_base, found.base) == (1.0, 1.75, 4.0)
    assert (found.score, found.reward, found.judged, found.base_reward) == (0.25, 0.125, 0.375, 0.5)
    # by hand: D = .82 + .18 · 1.75, J = .375, the fallback .18 · 4.5
    assert found.gsi(0.82) == pytest.approx(0.82 + 0.315 + 0.375 + 0.81) and found.sbon_base == 4.5
    assert found.gsi(1.0) == 1.375 and found.gsi(0.0) == 1.75 + 0.375 + 4.5
    [law] = parts["draft"].laws | parts["base"].laws
    assert (law.max_step_tokens, law.ends.strings, law.eos_ids) == (5, (), ())


def test_calls_at_once(timed: tuple[Clock, dict[str, Any]]) -> None:
    """On this clock one waits for another, so that company gains nothing."""
    found = PartTimer(timed[1], StepSize(n=3, prefix=40, tokens=5)).together(3, 2)
    assert (found.callers, found.draft, found.score, found.reward, found.base) == (3, 3.0, 0.75, 0.375, 12.0)
    assert found.gamma("draft", 1.0) == 1.0 and found.gamma("draft", 3.0) == 0.0 and found.gamma("base", 6.0) == 0.5


def test_the_tables_say_what_the_parts_make(timed: tuple[Clock, dict[str, Any]], tmp_path: Path) -> None:
    record = SizesRecord(models={"draft": "d", "base": "b", "reward": "r"}, repeats=1)
    sizes = [StepSize(n=n, prefix=40, tokens=5) for n in (1, 3)]
    found = measure_sizes(timed[1], sizes, (0.82, 0.5), record, file=tmp_path / "sizes.json")
    assert read_sizes(tmp_path / "sizes.json") == found
    parts, methods, rates = tables(found)
    assert [list(column.cells)[1] for column in parts.columns[2:]] == "1 1.75 0.25 0.125 0.375 4 0.5".split()
    columns = [list(column.cells) for column in methods.columns]
    assert [column[2] for column in columns] == ["40", "3", "0.82", "2.32", "4.5", "0.52", "0.49", "0.16", "0.35"]
    assert [column[3] for column in columns[2:5]] == ["0.50", "4", "4.5"]
    assert [list(column.cells)[4:] for column in rates.columns[3:]] == [
        ["draft", "score", "reward", "base"],
        ["15", "60", "120", "4"],
        *[["–"] * 4] * 3,
    ]


def test_what_is_finished_is_kept(timed: tuple[Clock, dict[str, Any]], tmp_path: Path) -> None:
    record, file = SizesRecord(models={}, repeats=1), tmp_path / "sizes.json"
    sizes = [StepSize(n=2, prefix=40, tokens=5), StepSize(n=2, prefix=1, tokens=5)]
    with pytest.raises(ConfigError, match="--prefix 1: the prompt of one word has 3 tokens"):
        measure_sizes(timed[1], sizes, (0.82,), record, file=file)
    assert [cell.prefix for cell in read_sizes(file).cells] == [40]


def test_a_problem_of_so_many_tokens() -> None:
    model = Timed("draft", Clock(), 1.0, 0.0)
    for size in (10, 100, 1000):
        assert size - 12 < len(problem_of(model, size)) <= size


def test_bounds_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Untied, so that the table of inputs is not read; keys and values of 2 layers, 2 heads of 8, in 4 bytes."""
    monkeypatch.setattr(machine, "machine_speed", lambda device, dtype: MachineSpeed(bytes=1e6, operations=1e9))
    language = shapes.language_model("tiny", "cpu", "float32")
    size = NetworkSize.of(language.engine)
    layer = 32 * 32 + 32 + 2 * (16 * 32 + 16) + 32 * 32 + 3 * 32 * 64 + 2 * 32  # q, k and v, o, MLP, norms
    assert size.parameters == 2 * layer + 32 + 512 * 32  # tied: read once, as the head
    assert (size.weights, size.token) == (4 * size.parameters, 2 * 2 * 2 * 8 * 4)
    reward = NetworkSize.of(shapes.reward_model("tiny-prm", "cpu", "float32").engine)
    assert reward.parameters == 2 * layer + 32 + (32 * 32 + 32) + (32 * 2 + 2)
    drawn, read = size.drawing(100, 3, 4), size.reading(100, 3, 4)
    assert drawn.arithmetic == read.arithmetic == 1e9 / (2 * size.parameters)
    # four forwards read weights and prefix; rows of 1, 2, 3 and 4 own tokens
    assert drawn.memory == 12e6 / (4 * (size.weights + 100 * 256) + 3 * 256 * (1 + 2 + 3 + 4))
    assert read.memory == 12e6 / (size.weights + 256 * 112)


def test_packed_layers_are_of_the_same_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the specs of these models have them; a head packed beside the table that it shares is counted once."""
    plain = NetworkSize.of(shapes.language_model("tiny", "cpu", "float32").engine)
    monkeypatch.setattr("gsi_node.engine.packing.LEAST", 1)
    engine = shapes.language_model("tiny", "cpu", "float32").engine
    assert any(isinstance(part, PackedLinear) for part in engine.model.modules())
    assert NetworkSize.of(engine) == plain


def test_the_machine_is_measured() -> None:
    speed = machine.machine_speed(torch.device("cpu"), torch.float32)
    assert 1e8 < speed.bytes < 1e13 and 1e8 < speed.operations < 1e15


def test_a_shape_keeps_rows_apart_in_the_reward_too() -> None:
    """As many ids as the rows have; and nobody else's random numbers move."""
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    draft, reward = shapes.language_model("tiny", "cpu", "float32"), shapes.reward_model("tiny-prm", "cpu", "float32")
    assert torch.equal(torch.rand(3), wanted)
    law = StepSize(n=8, prefix=1, tokens=16).law
    steps = draft.sample(Prefix("1 + 1"), 8, Key(0, "p", 0, "draft"), law)
    assert {len(step.token_ids) for step in steps} == {16} and len({step.text for step in steps}) == 8
    plain = [step for step in steps if not set(step.token_ids) & set(range(len(shapes.SPECIAL)))]
    assert len(plain) > 3 and {len(reward.layout.candidate(step.text, True)) for step in plain} == {17}


def test_the_command_on_tiny_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--n", "2,3", "--prefix", "64", "--company", "2", "--json", str(tmp_path / "a.json")]) == 0
    said = capsys.readouterr().out
    record = read_sizes(tmp_path / "a.json")
    assert record.models == {
        "draft": "tiny?device=cpu&dtype=float32",
        "base": "tiny?device=cpu&dtype=float32",
        "reward": "tiny-prm?device=cpu&dtype=float32",
    }
    assert [(cell.n, cell.prefix, cell.acceptance, cell.measured) for cell in record.cells] == [
        (2, 64, [0.82], None),
        (3, 64, [0.82], None),
    ]
    for cell in record.cells:
        assert 60 < cell.read <= 64 and cell.distinct == cell.n
        assert [rate.part for rate in cell.rates] == ["draft", "score", "reward", "base"]
        assert f"{cell.seconds.gsi(0.82) / cell.seconds.sbon_base:.2f}" in said
        assert cell.company is not None and cell.company.callers == 2 and cell.company.base > 0
        assert all(rate.memory and rate.arithmetic for rate in cell.rates)
    assert max(map(len, said.splitlines())) <= 80 and "…" not in said


def test_the_command_on_specs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The acceptance is the node's own; a reward that is no network has no bounds."""
    given = ["bench", "--models", "pocket:draft,pocket:base,verifier?prior=0.7", "--n", "2", "--prefix", "64"]
    assert main([*given, "--tokens", "8", "--repeats", "1", "--json", str(tmp_path / "a.json")]) == 0
    [cell] = read_sizes(tmp_path / "a.json").cells
    assert cell.measured is not None and cell.acceptance == [0.82, cell.measured]
    assert cell.decided is not None and 4 <= cell.decided <= 16
    assert cell.measured * cell.decided == pytest.approx(round(cell.measured * cell.decided))
    assert [rate.memory is None for rate in cell.rates] == [False, False, True, False]
    assert re.search(rf"{cell.measured:.2f} \({cell.decided}\)", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--shape", "qwen2.5-2b,tiny,tiny-prm"], "no shape 'qwen2.5-2b'.*qwen2.5-0.5b.*smollm2-135m"),
        (["--shape", "tiny,tiny,tiny"], "tiny is no reward model; there are qwen2.5-prm-7b, tiny-prm"),
        (["--shape", "tiny,tiny-prm,tiny-prm"], "tiny-prm is no language model"),
        (["--shape", "tiny,tiny,tiny-prm", "--device", "cuda"], "torch sees no CUDA"),
        (["--shape", "tiny,tiny,tiny-prm", "--dtype", "int8"], "dtype 'int8' is unknown"),
        (["--shape", "tiny,tiny,tiny-prm", "--acceptance", "measured"], "random weights accept by chance"),
        (["--shape", "tiny,tiny,tiny-prm", "--prefix", "8"], "the prompt of one word has"),
        (["--n", "4,16"], "several sizes .2. are for --models, --shape, --graphs and --forwards"),
        (["--models", "hf:/nowhere,pocket:base,pocket"], "/nowhere"),
    ],
)
def test_mistakes_are_typed(given: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        main(["bench", "--repeats", "1", *given])


def test_specs_that_cannot_be_are_refused() -> None:
    with pytest.raises(SpecError, match="kind 'pockets' is unknown"):
        main(["bench", "--models", "pockets:draft,pocket:base,pocket"])
    parts = {"draft": shapes.language_model("tiny", "cpu", "float32"), "base": Timed("base", Clock(), 1.0, 0.0)}
    with pytest.raises(VocabularyMismatch, match="different vocabularies"):
        PartTimer({**parts, "reward": TimedReward(Clock())}, StepSize(n=2, prefix=40, tokens=4))
    for wrong in (["--models", "a,b"], ["--shape", "tiny,,tiny-prm"], ["--acceptance", "1.5"], ["--prefix", "4,0"]):
        with pytest.raises(SystemExit, match="2"):
            main(["bench", *wrong])


def test_a_file_that_is_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_sizes(tmp_path / "none.json")
    (tmp_path / "a.json").write_text(json.dumps({"models": {}, "repeats": 0}))
    with pytest.raises(ConfigError, match="not of `gsi bench --models … --json`: repeats"):
        read_sizes(tmp_path / "a.json")


def test_the_parts_of_a_gpu_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in turn, one that fails or takes too long not the last; what it printed stays."""
    from tests import bench_gpu

    program = "import sys; print('begun', flush=True); {}"
    for name, does in (("good", "pass"), ("bad", "sys.exit(3)"), ("slow", "import time; time.sleep(60)")):
        (tmp_path / f"part_{name}.py").write_text(program.format(does))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(bench_gpu, "PARTS", {name: f"part_{name}" for name in ("good", "bad", "slow", "late")})
    codes = bench_gpu.run_parts(list(bench_gpu.PARTS), tmp_path / "out", 8.0)
    assert codes == {"good": 0, "bad": 3, "slow": None}
    assert {(tmp_path / "out" / f"{name}.txt").read_text() for name in codes} == {"begun\n"}


def test_the_commands_of_a_gpu_run_are_commands() -> None:
    from tests import bench_gpu

    for command in bench_gpu.PARTS.values():
        module, *given = command.split()
        if module == "gsi_node.cli":
            shown = subprocess.run([sys.executable, "-m", module, *given, "--help"], capture_output=True, check=False)
            assert shown.returncode == 0, command
