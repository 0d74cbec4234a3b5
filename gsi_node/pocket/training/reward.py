"""The process reward model: steps of draft and base, labelled by the exact checker, classified at "\\n\\n"."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, LlamaForTokenClassification, PreTrainedTokenizerFast

from gsi_node.pocket.training.data import IGNORED, StreamPlace, TokenRow, collate, cut
from gsi_node.pocket.training.judged import SEPARATOR, UNJUDGED, JudgedResponse, judge, response_rows, rows
from gsi_node.pocket.training.loop import TrainingSchedule, load_place, train
from gsi_node.pocket.training.recipes import SAMPLES, SCHEDULES, Samples
from gsi_node.pocket.training.sample import sample
from gsi_node.pocket.training.tokenizer import load
from gsi_node.pocket.world.problems import PocketProblem, Split, problems

Attempt = tuple[PocketProblem, str | None]
"""A problem and a response, or None for the problem's own solution."""


def beginnings(drawn: Sequence[PocketProblem], seed: int, share: float) -> list[str]:
    """For about this share of the problems a random number of right steps to go on from, for the others nothing."""
    rng = Random(f"beginnings {seed}")
    texts = []
    for item in drawn:
        count = rng.randrange(len(item.solution)) if rng.random() < share else 0
        texts.append("".join(step + SEPARATOR for step in item.solution[:count]))
    return texts


def responses(
    folder: Path,
    split: Split,
    seed: int,
    size: int,
    temperature: float,
    *,
    begun: float = 0.0,
    batch: int = 100,
    device: str = "cpu",
) -> list[tuple[PocketProblem, str]]:
    """`size` problems answered once by the causal model in `folder`; a share of them `begun` with right steps."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval().to(device)
    drawn = list(problems(split, seed, size))
    starts = beginnings(drawn, seed, begun)
    questions = [item.problem for item in drawn]
    texts = sample(model, load(folder), questions, temperature=temperature, seed=seed, batch=batch, begun=starts)
    return [(item, start + text) for item, start, text in zip(drawn, starts, texts, strict=True)]


def rollouts(
    folder: Path, split: Split, seed: int, size: int, temperature: float, *, device: str = "cpu"
) -> list[JudgedResponse]:
    """`size` problems answered once by the causal model in `folder`, and labelled."""
    return [judge(*pair) for pair in responses(folder, split, seed, size, temperature, device=device)]


class Rounds:
    """Batches of a fixed set of rows, shuffled anew in every round."""

    def __init__(self, made: list[TokenRow], tokens: int, pad: int, seed: int, place: StreamPlace) -> None:
        """`tokens` a batch, with padding."""
        self._rows, self._tokens, self._pad, self._seed = made, tokens, pad, seed
        self._round, self._batch = place.pool, place.batch
        self._batches = self._shuffle()

    @property
    def place(self) -> StreamPlace:
        """Where the next batch stands: the round, and the batch in it."""
        return StreamPlace(self._round, self._batch)

    def _shuffle(self) -> list[list[TokenRow]]:
        rng = Random(f"round {self._seed} {self._round}")
        return cut(rng.sample(self._rows, len(self._rows)), self._tokens, rng)

    def next(self) -> tuple[Tensor, Tensor]:
        """Ids and labels of the next batch."""
        if self._batch == len(self._batches):
            self._round, self._batch = self._round + 1, 0
            self._batches = self._shuffle()
        self._batch += 1
        return collate(self._batches[self._batch - 1], self._pad)


def step_loss(
    model: LlamaForTokenClassification, ids: Tensor, labels: Tensor, separator: int, language: float
) -> Tensor:
    """Mean cross-entropy of the labels at the separators, plus that of all labels, plus `language` times that of the
    right tokens, for which the last state is read as a language model's against the embeddings; nats.
    """
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    judged = (labels != IGNORED) & (labels != UNJUDGED)
    logits = model.score(hidden).flatten(0, 1)
    loss = _mean(logits, labels, judged & (ids == separator)) + _mean(logits, labels, judged)
    if language:
        guessed = hidden[:, :-1] @ model.model.embed_tokens.weight.T
        loss = loss + language * _mean(guessed.flatten(0, 1), ids[:, 1:], labels[:, 1:] >= 1)
    return loss


def _mean(logits: Tensor, wanted: Tensor, kept: Tensor) -> Tensor:
    """Mean cross-entropy over the `kept` places, 0 where there are none (without waiting for the device)."""
    total = cross_entropy(logits, torch.where(kept, wanted, IGNORED).flatten(), reduction="sum", ignore_index=IGNORED)
    return total / kept.sum().clamp(min=1)


@torch.inference_mode()
def rewards(
    model: LlamaForTokenClassification,
    tokenizer: PreTrainedTokenizerFast,
    judged: Sequence[JudgedResponse],
    batch: int = 64,
) -> list[list[float]]:
    """P(good) of every step of every response, in their order."""
    made = rows(tokenizer, judged)
    found: list[list[float]] = []
    for start in range(0, len(made), batch):
        ids, labels = collate(made[start : start + batch], tokenizer.pad_token_id)
        good = model(input_ids=ids.to(model.device)).logits.float().softmax(-1)[..., 1].cpu()
        found += [row[marks != IGNORED].tolist() for row, marks in zip(good, labels, strict=True)]
    return found


def auroc(scores: Sequence[float], labels: Sequence[int]) -> float:
    """The probability that a good step scores above a wrong one, ties counting half; NaN without both kinds."""
    good = torch.tensor([score for score, label in zip(scores, labels, strict=True) if label], dtype=torch.float64)
    wrong = torch.tensor([score for score, label in zip(scores, labels, strict=True) if not label], dtype=torch.float64)
    difference = good[:, None] - wrong[None, :]
    return float(((difference > 0).double() + (difference == 0).double() / 2).mean())


def initial(base: Path, more: int) -> LlamaForTokenClassification:
    """The trained base, with `more` layers on top that change nothing at first and a head of two labels, zero."""
    causal = AutoModelForCausalLM.from_pretrained(base)
    config = copy.deepcopy(causal.config)
    config.num_hidden_layers += more
    config.architectures = ["LlamaForTokenClassification"]
    config.num_labels = 2
    config.id2label, config.label2id = {0: "wrong", 1: "good"}, {"wrong": 0, "good": 1}
    config.step_separator = SEPARATOR
    model = LlamaForTokenClassification(config)
    trained = causal.model.state_dict()
    model.model.load_state_dict(trained, strict=False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, param in model.named_parameters():
            if name.removeprefix("model.") in trained:
                continue
            if name.endswith(("o_proj.weight", "down_proj.weight")) or name.startswith("score"):
                param.zero_()
            elif param.ndim == 2:
                param.normal_(0, 0.02, generator=generator)
    return model


def sources(out: Path, samples: Samples, seed: int, device: str) -> Iterator[list[Attempt]]:
    """Responses of draft and base at each temperature, and solutions, all to problems of the train split."""
    for name, size in (("draft", samples.draft), ("base", samples.base)):
        for turn, temperature in enumerate(samples.temperatures):
            source = 1000 * (seed + 1) + 10 * turn + (name == "base")
            count = size // len(samples.temperatures)
            how = {"begun": samples.begun, "batch": samples.batch, "device": device}
            yield list(responses(out / name, "train", source, count, temperature, **how))  # type: ignore[arg-type]
    yield [(item, None) for item in problems("train", 1000 * (seed + 1) + 500, samples.solutions)]


def learned(out: Path, samples: Samples, seed: int, device: str, workers: Executor | None) -> list[TokenRow]:
    """The labelled rows, read from `out/reward-rows.pt` or made and stored there; `workers` cut and label them."""
    path = out / "reward-rows.pt"
    if path.exists():
        stored = torch.load(path, weights_only=True)
        both = (stored[part].split(stored["lengths"].tolist()) for part in ("ids", "labels"))
        return [(ids.tolist(), labels.tolist()) for ids, labels in zip(*both, strict=True)]
    pending = []
    for answered in sources(out, samples, seed, device):
        parts = [answered[start : start + 1000] for start in range(0, len(answered), 1000)]
        pending.append((workers.map if workers else map)(partial(response_rows, out / "base"), parts))
    made = [row for chunks in pending for chunk in chunks for row in chunk]
    flat = {
        part: torch.tensor([x for row in made for x in row[i]], dtype=torch.int16)
        for i, part in enumerate(("ids", "labels"))
    }
    torch.save({**flat, "lengths": torch.tensor([len(ids) for ids, _ in made])}, path)
    return made


def train_reward(
    out: Path,
    samples: Samples = SAMPLES,
    schedule: TrainingSchedule | None = None,
    *,
    seed: int,
    resume: bool,
    test: int = 150,
    device: str = "cpu",
    workers: Executor | None = None,
    save_every: float = 300.0,
) -> tuple[LlamaForTokenClassification, PreTrainedTokenizerFast]:
    """Train on samples of `out/draft` and `out/base`, from the base's weights; the checkpoint is `out/reward.pt`.

    `test` validation problems, answered by the draft, are used to measure.
    """
    schedule = schedule or SCHEDULES["reward"]
    tokenizer = load(out / "base")
    model = initial(out / "base", samples.layers)
    model.to(device)  # type: ignore[arg-type]
    if not resume:
        (out / "reward-rows.pt").unlink(missing_ok=True)
    made = learned(out, samples, seed, device, workers)
    separator = int(tokenizer.vocab[SEPARATOR])
    unseen = rollouts(out / "draft", "validation", seed, test, 0.7, device=device)
    labels = [label for item in unseen for label in item.labels]

    def measure() -> str:
        scores = [score for row in rewards(model, tokenizer, unseen) for score in row]
        brier = sum((score - label) ** 2 for score, label in zip(scores, labels, strict=True)) / len(labels)
        return f"{len(labels)} steps, AUROC {auroc(scores, labels):.4f}, Brier score {brier:.4f}"

    checkpoint = out / "reward.pt"
    place = load_place(checkpoint, resume=resume)
    train(
        model,
        tokenizer,
        Rounds(made, schedule.batch, tokenizer.pad_token_id, seed, place),
        schedule,
        checkpoint,
        loss=lambda ids, marks: step_loss(model, ids, marks, separator, samples.language),
        measure=measure,
        resume=resume,
        save_every=save_every,
    )
    return model, tokenizer
