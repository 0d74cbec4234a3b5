"""Train the shipped models from scratch, on a CPU or with `--device cuda`.

`python -m gsi_node.pocket.training.train --model all --out DIR` trains draft, base and reward model in this order;
`--resume` goes on from the checkpoints in DIR. The finished models are DIR/draft, DIR/base and DIR/reward.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from gsi_node.host.options import named_path
from gsi_node.host.shell import Parser, ending
from gsi_node.pocket.training.data import IGNORED, BatchStream
from gsi_node.pocket.training.loop import TrainingSchedule, load_place, train
from gsi_node.pocket.training.recipes import SCHEDULES, SIZES, ModelSize, fresh
from gsi_node.pocket.training.reward import train_reward
from gsi_node.pocket.training.sample import sample
from gsi_node.pocket.training.tokenizer import build
from gsi_node.pocket.world.problems import FAMILIES, grade, problems


def solution_loss(model: LlamaForCausalLM, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log-likelihood of the solution tokens, nats a token (right padding needs no mask)."""
    hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state
    wanted = labels[:, 1:]
    kept = wanted != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[kept]), wanted[kept])


def accuracy(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, each: int = 12) -> str:
    """Greedy accuracy on `each` validation problems a family, as one line."""
    drawn = [item for name in FAMILIES for item in problems("validation", 0, each, [name])]
    texts = sample(model, tokenizer, [item.problem for item in drawn], temperature=0, seed=0)
    right = [grade(item, text) for item, text in zip(drawn, texts, strict=True)]
    parts = [f"{name} {sum(right[i * each : (i + 1) * each]) / each:.2f}" for i, name in enumerate(FAMILIES)]
    return f"accuracy {sum(right) / len(right):.3f}: {', '.join(parts)}"


def train_causal(
    name: str,
    size: ModelSize,
    schedule: TrainingSchedule,
    out: Path,
    *,
    seed: int,
    resume: bool,
    stop: int | None = None,
    pool: int = 6000,
    each: int = 12,
    device: str = "cpu",
) -> Path:
    """Train a draft or base; its checkpoint is `out/name.pt`, the finished model `out/name`.

    `stop` ends early after so many tokens, `pool` problems are drawn at a time, `each` a family are used to measure.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build()
    model = fresh(size, tokenizer, seed)
    model.to(device)  # type: ignore[arg-type]
    checkpoint = out / f"{name}.pt"
    train(
        model,
        tokenizer,
        BatchStream(tokenizer, seed, schedule.batch, load_place(checkpoint, resume=resume), pool),
        schedule,
        checkpoint,
        loss=lambda ids, labels: solution_loss(model, ids, labels),
        measure=lambda: accuracy(model, tokenizer, each),
        resume=resume,
        stop=stop,
    )
    return export(model, tokenizer, out / name)


def export(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    """Write config, safetensors weights and tokenizer files."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 where the reward model lacks its parents."""
    parser = Parser(prog="python -m gsi_node.pocket.training.train", description=__doc__)
    parser.add_argument("--model", choices=("draft", "base", "reward", "all"), required=True)
    parser.add_argument("--out", type=named_path, required=True, help="of checkpoints, logs and the finished models")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints in --out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None, help="torch threads (default: torch's choice)")
    parser.add_argument("--device", default="cpu", help="torch device, for instance cuda (default cpu)")
    parser.add_argument("--workers", type=int, default=0, help="processes that label the reward model's samples")
    options = parser.parse_args(arguments)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    names = ("draft", "base", "reward") if options.model == "all" else (options.model,)
    about: dict[str, Any] = {"seed": options.seed, "resume": options.resume, "device": options.device}
    for name in names:
        if name != "reward":
            train_causal(name, SIZES[name], SCHEDULES[name], options.out, **about)
            continue
        missing = [part for part in ("draft", "base") if not (options.out / part / "config.json").exists()]
        if missing:
            sys.stderr.write(f"{options.out} has no finished {' and '.join(missing)}: train them there first\n")
            return 2
        with ProcessPoolExecutor(options.workers, get_context("spawn")) if options.workers else nullcontext() as pool:
            model, tokenizer = train_reward(options.out, **about, workers=pool)
        export(model, tokenizer, options.out / name)
    return 0


if __name__ == "__main__":
    with ending():
        raise SystemExit(main())
