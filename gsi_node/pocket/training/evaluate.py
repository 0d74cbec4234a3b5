"""Measure the shipped models on held-out problems: `python -m gsi_node.pocket.training.evaluate`.

Prints accuracy by family with Wilson 95 % intervals (one sample a problem), the share of right steps, the reward
model's AUROC, Brier score and reliability on the draft's steps, and accuracy on reasoning-gym's problems by its own
graders where that package is installed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification, LlamaForCausalLM

from gsi_node.answer import last_boxed
from gsi_node.host.options import named_path
from gsi_node.host.shell import Parser, ending
from gsi_node.needs import install_extra
from gsi_node.pocket import NAMES, path
from gsi_node.pocket.training.independent import SETTINGS, recognise
from gsi_node.pocket.training.judged import JudgedResponse, judge
from gsi_node.pocket.training.reward import auroc, rewards
from gsi_node.pocket.training.sample import sample
from gsi_node.pocket.training.tokenizer import load
from gsi_node.pocket.world.check import grade
from gsi_node.pocket.world.problems import FAMILIES, PocketProblem, problems, split_of


@dataclass(frozen=True, slots=True)
class AnsweredProblem:
    """A problem and one response to it."""

    problem: PocketProblem
    response: str

    @property
    def right(self) -> bool:
        """Whether the final answer is exact."""
        return grade(self.problem, self.response)

    @property
    def judged(self) -> JudgedResponse:
        """The steps with their exact labels."""
        return judge(self.problem, self.response)


def wilson(right: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a proportion; (0, 1) of nothing."""
    if total == 0:
        return 0.0, 1.0
    share = right / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * (share * (1 - share) / total + z * z / (4 * total * total)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def proportion(right: int, total: int) -> str:
    """`share [low, high]`."""
    if total == 0:
        return "none"
    low, high = wilson(right, total)
    return f"{right / total:.3f} [{low:.3f}, {high:.3f}]"


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    lines = [list(header), ["-" * len(text) for text in header], *map(list, body)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    padded = (" | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(f"| {line} |" for line in padded) + "\n\n"


def answer(
    folder: Path, drawn: Sequence[PocketProblem], temperature: float, seed: int, device: str
) -> list[AnsweredProblem]:
    """One response of the model in `folder` to each problem."""
    model: LlamaForCausalLM = AutoModelForCausalLM.from_pretrained(folder).eval().to(device)
    texts = sample(model, load(folder), [item.problem for item in drawn], temperature=temperature, seed=seed)
    return [AnsweredProblem(item, text) for item, text in zip(drawn, texts, strict=True)]


def families(found: dict[str, list[AnsweredProblem]]) -> str:
    """Accuracy by family and in all."""
    body = []
    for family in (*FAMILIES, "all"):
        line = [family]
        for answered in found.values():
            of = [item for item in answered if family in ("all", item.problem.family)]
            line.append(proportion(sum(item.right for item in of), len(of)))
        body.append([line[0], str(len(of)), *line[1:]])
    return table(("family", "problems", *found), body)


def single_steps(answered: Sequence[AnsweredProblem]) -> tuple[int, int]:
    """Of the steps taken from a right beginning: how many are right, how many there are."""
    right = tried = 0
    for item in answered:
        judged = item.judged
        right += judged.right
        tried += min(judged.right + 1, len(judged.steps))
    return right, tried


def calibration(answered: Sequence[AnsweredProblem], folder: Path, device: str, bins: int = 10) -> str:
    """The reward model on all steps of these responses."""
    model = AutoModelForTokenClassification.from_pretrained(folder).eval().to(device)
    judged = [item.judged for item in answered]
    scores = [score for row in rewards(model, load(folder), judged) for score in row]
    labels = [label for item in judged for label in item.labels]
    brier = sum((score - label) ** 2 for score, label in zip(scores, labels, strict=True)) / len(labels)
    text = f"Reward model on the draft's {len(labels)} steps ({sum(labels) / len(labels):.3f} of them good): "
    text += f"AUROC {auroc(scores, labels):.4f}, Brier score {brier:.4f}.\n\n"
    body = []
    for place in range(bins):
        inside = [(s, k) for s, k in zip(scores, labels, strict=True) if min(int(s * bins), bins - 1) == place]
        if inside:
            mean = sum(score for score, _ in inside) / len(inside)
            share = proportion(sum(label for _, label in inside), len(inside))
            body.append((f"{place / bins:.1f} to {(place + 1) / bins:.1f}", str(len(inside)), f"{mean:.3f}", share))
    return text + table(("P(good)", "steps", "mean P(good)", "good"), body)


def held_out(gym: Any, name: str, size: int, seed: int) -> Iterator[tuple[Any, dict[str, Any], PocketProblem]]:
    """`size` problems of a generator whose content is in our test split: (data set, entry, problem)."""
    data = gym.create_dataset(name, seed=seed, size=60 * size, **SETTINGS[name])
    made = 0
    for entry in data:
        problem = recognise(entry["question"])
        if problem is None:
            raise ValueError(f"reasoning-gym's {name} asks what the world does not cover: {entry['question']!r}")
        if split_of(problem.key) == "test":
            made += 1
            yield data, entry, problem
        if made == size:
            return


def gym_table(folders: dict[str, Path], size: int, temperature: float, seed: int, device: str) -> str:
    """Accuracy by reasoning-gym's graders, on problems whose content is in the test split."""
    try:
        gym = importlib.import_module("reasoning_gym")
    except ModuleNotFoundError:
        return f"reasoning-gym is not installed ({install_extra('rg')}): its problems are left out.\n"
    body = []
    for name in SETTINGS:
        drawn = list(held_out(gym, name, size, seed))
        line = [name, str(len(drawn))]
        for folder in folders.values():
            answered = answer(folder, [problem for _, _, problem in drawn], temperature, seed, device)
            graded = [
                data.score_answer(last_boxed(item.response), entry) == 1.0
                for item, (data, entry, _) in zip(answered, drawn, strict=True)
            ]
            line.append(proportion(sum(graded), len(graded)))
        body.append(line)
    return table(("reasoning-gym", "problems", *folders), body)


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 where a model is missing."""
    parser = Parser(prog="python -m gsi_node.pocket.training.evaluate", description=__doc__)
    parser.add_argument("--models", type=named_path, help="folder of draft, base and reward (default: the shipped)")
    parser.add_argument("--size", type=int, default=1000, help="test problems (default 1000)")
    parser.add_argument("--gym-size", type=int, default=100, help="problems a reasoning-gym generator (default 100)")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None, help="torch threads (default: torch's choice)")
    parser.add_argument("--device", default="cpu", help="torch device, for instance cuda (default cpu)")
    options = parser.parse_args(arguments)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    folders = {name: options.models / name if options.models else path(name) for name in NAMES}
    missing = [str(folder) for folder in folders.values() if not (folder / "config.json").exists()]
    if missing:
        sys.stderr.write(f"no model in {', '.join(missing)}: train them, or point --models at finished ones\n")
        return 2
    causal = {name: folders[name] for name in ("draft", "base")}
    drawn = list(problems("test", options.seed, options.size))
    how = (options.temperature, options.seed, options.device)
    found = {name: answer(folder, drawn, *how) for name, folder in causal.items()}
    sys.stdout.write(f"Temperature {options.temperature:g}, one sample a problem, seed {options.seed}.\n\n")
    sys.stdout.write(families(found))
    for name, answered in found.items():
        sys.stdout.write(f"Single steps of the {name} that are right: {proportion(*single_steps(answered))}.\n\n")
    sys.stdout.write(calibration(found["draft"], folders["reward"], options.device))
    sys.stdout.write(gym_table(causal, options.gym_size, *how))
    return 0


if __name__ == "__main__":
    with ending():
        raise SystemExit(main())
