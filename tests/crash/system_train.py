"""`evals train-reward` behind its samples, which come ready (`evals run` writes them, and has a system of its own):
rollouts, states, head, package, card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evals.__main__ import main
from evals.train_reward import command as train

READY = "samples"
TOLD_OF_ITSELF = ("| command ", "| version ", "| machine, date ")


def command(folder: Path) -> int:
    training = folder / "mine" / "training"
    training.mkdir(parents=True, exist_ok=True)
    if not (training / "samples").is_symlink():
        (training / "samples").symlink_to(folder.parent / READY)
    setattr(train, "warm_up", lambda *given: None)  # noqa: B010 - its threads do not outlive a fork
    return main(_arguments(folder))


def result(folder: Path, out: str) -> Any:
    """Bytes of the reward, and the lines of all that has an order of its own."""
    mine = folder / "mine"
    whole = [(mine / name).read_bytes() for name in ("config.json", "model.safetensors", "shift.json", "overlap.json")]
    kept = [(mine / "training" / name).read_bytes() for name in ("head.safetensors", "judged.jsonl")]
    rollouts = sorted((mine / "training" / "rollouts.jsonl").read_bytes().splitlines())
    card = [line for line in (mine / "README.md").read_text().splitlines() if not line.startswith(TOLD_OF_ITSELF)]
    names = sorted(str(path.relative_to(mine)) for path in mine.rglob("*") if READY not in path.parts)
    return whole, kept, rollouts, card, names


def prepare(work: Path) -> None:
    """Sample, by a training that is then thrown away."""
    folder = work / "prepared"
    folder.mkdir()
    assert main(_arguments(folder)) == 0
    (folder / "mine" / "training" / "samples").rename(work / READY)


def _arguments(folder: Path) -> list[str]:
    return [
        *("train-reward", "--model", "pocket:base", "--solvers", "pocket:draft,pocket:base", "--data", "pocket"),
        *("--data-dir", str(folder.parent / "no-sets"), "--limit", "24", "--samples", "2"),
        *("--layers", "2", "--rollouts", "1", "--out", str(folder / "mine")),
    ]
