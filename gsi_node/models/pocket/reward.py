"""The process reward model: steps of draft and base, labelled by the exact checker, classified at "\\n\\n"."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaForTokenClassification, PreTrainedTokenizerFast

from gsi_node.models.pocket.data import IGNORED, Place, Row, collate, cut, prompt_ids
from gsi_node.models.pocket.loop import Schedule, load_place, train
from gsi_node.models.pocket.recipes import SAMPLES, SCHEDULES, Samples
from gsi_node.models.pocket.sample import sample
from gsi_node.models.pocket.tokenizer import load
from gsi_node.models.pocket.world import Problem, Split, first_error, problems

SEPARATOR = "\n\n"


@dataclass(frozen=True, slots=True)
class Judged:
    """A question and the steps of one response: `right` of them come before the first wrong one.

    `kept` characters of the first wrong step agree with a right one (all of them where it only breaks off).
    """

    question: str
    steps: tuple[str, ...]
    right: int
    kept: int = 0

    @property
    def labels(self) -> list[int]:
        """1 for each step before the first wrong one, 0 for that step and all after it."""
        return [int(index < self.right) for index in range(len(self.steps))]


def split_steps(response: str) -> tuple[str, ...]:
    """The steps of a response: its texts between blank lines, empty ones left out."""
    return tuple(step for step in (part.strip() for part in response.split(SEPARATOR)) if step)


def agreement(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def judge(problem: Problem, response: str) -> Judged:
    """Label a response by the exact checker."""
    steps = split_steps(response)
    wrong = first_error(problem, steps)
    if wrong is None:
        return Judged(problem.problem, steps, len(steps))
    texts = problem.alternatives[wrong] if wrong < len(problem.alternatives) else ()
    kept = max((agreement(steps[wrong], text) for text in texts), default=0)
    return Judged(problem.problem, steps, wrong, kept)


def rollouts(folder: Path, split: Split, seed: int, size: int, temperature: float) -> list[Judged]:
    """`size` problems answered once by the causal model in `folder`, and labelled."""
    tokenizer = load(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    drawn = list(problems(split, seed, size))
    texts = sample(model, tokenizer, [item.problem for item in drawn], temperature=temperature, seed=seed)
    return [judge(item, text) for item, text in zip(drawn, texts, strict=True)]


def rows(tokenizer: PreTrainedTokenizerFast, judged: Sequence[Judged], *, inside: bool = False) -> list[Row]:
    """Prompt, then every step followed by one separator; the label of a step stands at its separator.

    With `inside` every token of a step is labelled too: 1 up to where the response leaves the right path, 0 from there.
    """
    separator = int(tokenizer.vocab[SEPARATOR])
    made: list[Row] = []
    for prompt, item in zip(prompt_ids(tokenizer, [item.question for item in judged]), judged, strict=True):
        ids, labels = list(prompt), [IGNORED] * len(prompt)
        for index, (step, label) in enumerate(zip(item.steps, item.labels, strict=True)):
            encoded = tokenizer(step, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
            good = len(step) if label else item.kept if index == item.right else -1
            ends = [end for _, end in encoded["offset_mapping"]]
            ids += [*encoded["input_ids"], separator]
            labels += [int(end <= good) if inside else IGNORED for end in ends] + [label]
        made.append((ids, labels))
    return made


class Rounds:
    """Batches of a fixed set of rows, shuffled anew in every round."""

    def __init__(self, made: list[Row], tokens: int, pad: int, seed: int, place: Place) -> None:
        """`tokens` a batch, with padding."""
        self._rows, self._tokens, self._pad, self._seed = made, tokens, pad, seed
        self._round, self._batch = place.pool, place.batch
        self._batches = self._shuffle()

    @property
    def place(self) -> Place:
        """Where the next batch stands: the round, and the batch in it."""
        return Place(self._round, self._batch)

    def _shuffle(self) -> list[list[Row]]:
        rng = Random(f"round {self._seed} {self._round}")
        return cut(rng.sample(self._rows, len(self._rows)), self._tokens, rng)

    def next(self) -> tuple[Tensor, Tensor]:
        """Ids and labels of the next batch."""
        if self._batch == len(self._batches):
            self._round, self._batch = self._round + 1, 0
            self._batches = self._shuffle()
        self._batch += 1
        return collate(self._batches[self._batch - 1], self._pad)


def step_loss(model: LlamaForTokenClassification, ids: Tensor, labels: Tensor, separator: int) -> Tensor:
    """Mean cross-entropy of the labels at the separators, plus that of all labels, nats."""
    logits = model(input_ids=ids).logits
    kept = labels != IGNORED
    ends = kept & (ids == separator)
    entropy = torch.nn.functional.cross_entropy
    return entropy(logits[ends], labels[ends]) + entropy(logits[kept], labels[kept])


@torch.inference_mode()
def rewards(
    model: LlamaForTokenClassification, tokenizer: PreTrainedTokenizerFast, judged: Sequence[Judged], batch: int = 64
) -> list[list[float]]:
    """P(good) of every step of every response, in their order."""
    made = rows(tokenizer, judged)
    found: list[list[float]] = []
    for start in range(0, len(made), batch):
        ids, labels = collate(made[start : start + batch], tokenizer.pad_token_id)
        good = model(input_ids=ids).logits.float().softmax(-1)[..., 1]
        found += [row[marks != IGNORED].tolist() for row, marks in zip(good, labels, strict=True)]
    return found


def auroc(scores: Sequence[float], labels: Sequence[int]) -> float:
    """The probability that a good step scores above a wrong one, ties counting half; NaN without both kinds."""
    good = torch.tensor([score for score, label in zip(scores, labels, strict=True) if label], dtype=torch.float64)
    wrong = torch.tensor([score for score, label in zip(scores, labels, strict=True) if not label], dtype=torch.float64)
    difference = good[:, None] - wrong[None, :]
    return float(((difference > 0).double() + (difference == 0).double() / 2).mean())


def initial(base: Path, more: int) -> LlamaForTokenClassification:
    """The trained base, frozen, with `more` layers on top and a head of two labels, initially zero.

    The base's last layer says at each token what it expects next; the layers on top can look back and compare.
    """
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
                param.requires_grad = name == "model.norm.weight"
            elif name.endswith(("o_proj.weight", "down_proj.weight")) or name.startswith("score"):
                param.zero_()
            elif param.ndim == 2:
                param.normal_(0, 0.02, generator=generator)
    return model


def _stored(path: Path, samples: Samples, out: Path, seed: int) -> list[Judged]:
    """The labelled samples, read from `path` or made (minutes) and stored there."""
    if path.exists():
        return [Judged(**{**item, "steps": tuple(item["steps"])}) for item in json.loads(path.read_text())]
    judged: list[Judged] = []
    for name, size in (("draft", samples.draft), ("base", samples.base)):
        for turn, temperature in enumerate(samples.temperatures):
            source = 1000 * (seed + 1) + 10 * turn + (name == "base")
            judged += rollouts(out / name, "train", source, size // len(samples.temperatures), temperature)
    path.write_text(json.dumps([asdict(item) for item in judged]))
    return judged


def train_reward(
    out: Path, samples: Samples = SAMPLES, schedule: Schedule | None = None, *, seed: int, resume: bool, test: int = 150
) -> tuple[LlamaForTokenClassification, PreTrainedTokenizerFast]:
    """Train on samples of `out/draft` and `out/base`, from the base's weights; the checkpoint is `out/reward.pt`.

    `test` validation problems, answered by the draft, are used to measure.
    """
    schedule = schedule or SCHEDULES["reward"]
    tokenizer = load(out / "base")
    model = initial(out / "base", samples.layers)
    stored = out / "reward-samples.json"
    if not resume:
        stored.unlink(missing_ok=True)
    made = rows(tokenizer, _stored(stored, samples, out, seed), inside=True)
    separator = int(tokenizer.vocab[SEPARATOR])
    unseen = rollouts(out / "draft", "validation", seed, test, 0.7)
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
        loss=lambda ids, marks: step_loss(model, ids, marks, separator),
        measure=measure,
        resume=resume,
    )
    return model, tokenizer
