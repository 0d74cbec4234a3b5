"""From problems to a reward: samples, states, labels, head, package, card. Each leaves a file, and what stands there
already is not made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import cast

import torch
from pydantic import TypeAdapter

from evals.data.problems import Ungraded
from evals.graders.grading import Grader
from evals.rows.sealed import SCHEMA, sealed
from evals.run.crew import resolve
from evals.run.how import How
from evals.run.progress import RunMeter
from evals.train_reward.backbone import SEPARATOR, Backbone, model_source
from evals.train_reward.card import Evidence, write_card
from evals.train_reward.head import StepHead, fitted
from evals.train_reward.judged import SPLIT_NAMES, Judged, SplitName, TrainingFacts
from evals.train_reward.leakage import Leakage
from evals.train_reward.packaging import put_together, said_of
from evals.train_reward.recipe import TRAINING, Recipe
from evals.train_reward.rollouts import Labels, outcomes, rolled_out
from evals.train_reward.sampling import Sample, samples
from evals.train_reward.states import States, all_states
from evals.train_reward.templates import SplitProblems
from gsi_node.errors import ConfigError
from gsi_node.host.files import write
from gsi_node.protocols import StepModel
from gsi_node.rewards.prm.in_process import TransformersPRM
from gsi_node.rewards.verifier.reward import VerifierReward

JUDGED = "judged.jsonl"
"""Every response as the reward judges it, a line each: its split, and the fields of Judged."""
BySplit = Mapping[SplitName, Sequence[Sample]]
_JUDGED = TypeAdapter(Judged)


@dataclass(frozen=True, slots=True)
class Training:
    """A reward to be made. command: as typed. of_layers: how many the model has."""

    recipe: Recipe
    given: SplitProblems
    leakage: Leakage
    out: Path
    how: How
    command: str
    of_layers: int

    def run(self) -> str:
        """Make what is missing of it; the text of its card. Raises GSIError, OSError."""
        recipe, folder, say = self.recipe, self.out / TRAINING, RunMeter(0).say
        source = model_source(recipe.model)
        torch.set_num_threads(self.how.threads)
        load = cache(lambda: Backbone(source, recipe.layers))
        found, left_out, prints = samples(recipe, self.given, folder / "samples", self.how)
        states = all_states(found, recipe.layers, folder, load)
        readable = [one for one in found if one.key in states.places]
        if len(readable) < len(found):
            left_out["not readable by the model"] = len(found) - len(readable)
        by_split = {name: [one for one in readable if self.given.split[one.problem.id] == name] for name in SPLIT_NAMES}
        if empty := [name for name, some in by_split.items() if not some]:
            raise ConfigError(f"no response of the {empty[0]} split is left (left out: {left_out}): name more problems")
        head = fitted(by_split, self._labels(by_split["fit"]), states, recipe.seed, folder)
        say(f"{head.layers} of {self.of_layers} layers, C = {head.record.best.strength:g}")
        put_together(head, by_split["gate"], states, self.out, load)
        judged = {name: [_judged(one, head, states) for one in some] for name, some in by_split.items()}
        _keep(judged, folder / JUDGED)
        checksums = {**prints, "model": states.model, "problems": recipe.problems_digest, "head": head.checksum}
        return self._card(by_split, judged, self._facts(head, by_split, left_out, checksums))

    def _labels(self, samples: Sequence[Sample]) -> Labels | None:
        """Of these responses' steps; None where pairs of them are told apart instead."""
        if self.recipe.pairs:
            return None
        if not self.recipe.rollouts:
            return outcomes(samples)
        return rolled_out(self.recipe, samples, self.out / TRAINING, self.how.concurrency, self._base)

    def _base(self) -> StepModel:
        """The last solver, which rolls out."""
        return cast(StepModel, resolve(self.how.load)("base", self.recipe.solvers[-1]))

    def _card(self, samples: BySplit, judged: Mapping[SplitName, Sequence[Judged]], facts: TrainingFacts) -> str:
        source = model_source(self.recipe.model)
        reward = TransformersPRM.from_pretrained(self.out, device=source.device, dtype=source.dtype)
        with Grader() as grader:
            problems = {problem.id: problem for problem in self.given.problems}

            def same(one: Judged, first: str, second: str) -> bool:
                try:
                    return grader.same(problems[one.problem_id], first, second)
                except Ungraded:
                    return False  # a vote for an answer that nobody can compare is a vote for another answer

            verifier = [
                replace(one, scores=tuple(said_of(VerifierReward(), sample)))
                for one, sample in zip(judged["gate"], samples["gate"], strict=True)
            ]
            gate = {"this reward": judged["gate"], "verifier": verifier}
            evidence = Evidence(judged["calibrate"], gate, same, self.leakage, reward.fingerprint)
            return write_card(self.out, facts, evidence)

    def _facts(
        self, head: StepHead, samples: BySplit, left_out: Mapping[str, int], checksums: Mapping[str, str]
    ) -> TrainingFacts:
        recipe, given, made = self.recipe, self.given, self.recipe.made
        names = {name: {given.template[one.id] for one in given.within(name)} for name in SPLIT_NAMES}
        return TrainingFacts(
            command=self.command,
            model=recipe.model,
            dtype=model_source(recipe.model).dtype,
            layers=head.layers,
            of_layers=self.of_layers,
            separator=SEPARATOR,
            solvers=recipe.by_name,
            samples=recipe.samples,
            data=tuple(recipe.data),
            checksums=checksums,
            templates={name: len(some) for name, some in names.items()},
            problems={name: len(given.within(name)) for name in SPLIT_NAMES},
            responses={name: len(some) for name, some in samples.items()},
            left_out=left_out,
            strength=head.record.best.strength,
            tried=head.record.tried,
            slope=head.record.slope,
            offset=head.record.offset,
            rollouts=recipe.rollouts,
            pairs=recipe.pairs,
            version=made.version,
            commit=made.commit,
            machine=made.machine,
            date=made.date,
        )


def _judged(one: Sample, head: StepHead, states: States) -> Judged:
    return Judged(
        problem=one.problem.problem,
        template=one.template,
        problem_id=one.problem.id,
        solver=one.solver,
        sample=one.sample,
        correct=one.correct,
        finished=one.finished,
        answer=one.answer,
        scores=tuple(head.scores(states.of(head.layers, [one])).tolist()),
        log_ratios=one.log_ratios,
    )


def _keep(judged: Mapping[SplitName, Sequence[Judged]], file: Path) -> None:
    lines = [
        sealed(b'{"schema": %d, "split": "%s", ' % (SCHEMA, name.encode()) + _JUDGED.dump_json(one)[1:])
        for name, some in judged.items()
        for one in some
    ]
    write(file, b"".join(lines))
