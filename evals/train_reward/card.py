"""The card of a reward: README.md in its folder, with how it was made and all that was measured of it; beside it the
reliability plot, what overlaps, and the shift of the prior as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.data.dropped import save
from evals.report.cells import estimate
from evals.report.drawing import look_of_plots
from evals.report.plots.calibration import drawn
from evals.report.reliability import LabelledReward, calibration_error, curve
from evals.report.text_table import TextTable
from evals.train_reward import calibration
from evals.train_reward.gate import SameAnswer, gates, tables
from evals.train_reward.judged import SPLIT_NAMES, Judged, TrainingFacts
from evals.train_reward.leakage import OVERLAP, Leakage
from gsi_node.host.files import write

CARD, PLOT, SHIFT = "README.md", "reliability.png", "shift.json"
NS = (1, 4)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a reward is measured on. calibrate: the responses of that split. gate: those of that one, by the name of the
    reward whose scores they have, this one's first. same: whether two answers are equal. fingerprint: of the reward as
    it is loaded."""

    calibrate: Sequence[Judged]
    gate: Mapping[str, Sequence[Judged]]
    same: SameAnswer
    leakage: Leakage
    fingerprint: str


def write_card(folder: Path, facts: TrainingFacts, evidence: Evidence) -> str:
    """The text of the card, once it and the files that it names are in the folder. Raises StorageError."""
    save(evidence.leakage.sets, folder / OVERLAP)
    shift = calibration.prior_shift(evidence.calibrate, evidence.fingerprint)
    shift.save(folder / SHIFT)
    own = next(iter(evidence.gate.values()))
    _plot(own, folder / PLOT)
    found = gates(evidence.gate, evidence.same)
    draft = [one for one in evidence.calibrate if one.solver == next(iter(facts.solvers))]
    shifted = calibration.shifted(draft, shift)
    parts = [
        _head(facts),
        _made(facts),
        "## Gate\n\nThe gate split, which nothing was fitted to. Brackets: 95 % intervals, clustered by problem.\n",
        "\n".join(f"- {one.verdict}" for one in found) + "\n",
        *(f"### {table.title}\n\n{table.markdown()}" for one in found for table in tables(one)),
        f"## Calibration\n\n![Reliability]({PLOT})\n\n{_errors(own).markdown()}",
        f"## Thresholds\n\nThe share of the draft's steps that a threshold refuses, on the calibrate split, β = 20.\n"
        f"{_thresholds(draft, 'as it is').markdown()}\n"
        f"As an option, the prior shifted by {shift.offset:+.3f} logits, so that P = ½ is the average step: "
        f"`--reward 'calibrated:prm:FOLDER?file=FOLDER/{SHIFT}'` ({shift.before:.4f} nats a label as it is, "
        f"{shift.after:.4f} shifted). Its thresholds:\n\n{_thresholds(shifted, 'shifted').markdown()}",
        f"## Overlap\n\n{evidence.leakage.table().markdown()}",
    ]
    text = "\n".join(parts)
    write(folder / CARD, text)
    return text


def _head(facts: TrainingFacts) -> str:
    return f"""\
---
library_name: transformers
pipeline_tag: token-classification
---

# A process reward model of {facts.layers} layers

P(good) of a reasoning step: the first {facts.layers} of {facts.of_layers} layers of {facts.model}, and a linear head on
the hidden state at the separator behind a step. The head was fitted to {_label(facts)}.

```
gsi solve --reward prm:FOLDER "What is 12 * (7 + 5)?"
```

`AutoModelForTokenClassification.from_pretrained(FOLDER)` loads it, too: softmax over two labels at the last token of
each separator, {facts.separator!r}, label 1 good.
"""


def _label(facts: TrainingFacts) -> str:
    if facts.rollouts:
        return f"the share of {facts.rollouts} rollouts from a step that end right"
    if facts.pairs:
        return "pairs of steps at one place of a right and of a wrong response of one solver to a problem"
    return "whether a step's response is right"


def _made(facts: TrainingFacts) -> str:
    what = {
        "command": facts.command,
        "model": f"{facts.model}, {facts.dtype}",
        **{f"solver {name}": spec for name, spec in facts.solvers.items()},
        "data": ", ".join(facts.data),
        "samples a problem and solver": str(facts.samples),
        **{f"checksum of {name}": value for name, value in facts.checksums.items()},
        "C": f"{facts.strength:g}",
        "logistic map, in the head": f"slope {facts.slope:.4f}, offset {facts.offset:+.4f}",
        "version": f"{facts.version}, commit {facts.commit or 'unknown'}",
        "machine, date": f"{facts.machine}, {facts.date}",
    }
    splits = [
        [split, str(facts.templates[split]), str(facts.problems[split]), str(facts.responses[split])]
        for split in SPLIT_NAMES
    ]
    left = ", ".join(f"{count} {why}" for why, count in facts.left_out.items()) or "none"
    tried = [
        [str(one.layers), f"{one.strength:g}", f"{one.log_loss:.4f}", f"{one.auroc:.3f}"]
        for one in sorted(facts.tried, key=lambda one: (one.layers, one.strength))
    ]
    made = [
        TextTable("Made", ["what", ""], [[name, value] for name, value in what.items()]),
        TextTable(
            "Splits",
            ["split", "templates", "problems", "responses"],
            splits,
            [f"No template is in two splits. Responses left out: {left}."],
        ),
        TextTable("Cross-validation within the fit split", ["layers", "C", "nats a label", "AUROC over steps"], tried),
    ]
    return "\n".join(f"## {table.title}\n\n{table.markdown()}" for table in made)


def _labelled(judged: Sequence[Judged]) -> dict[str, list[LabelledReward]]:
    """The steps of each solver."""
    found: dict[str, list[LabelledReward]] = {}
    for one in judged:
        steps = [LabelledReward(one.problem_id, one.solver, score, one.correct) for score in one.scores]
        found.setdefault(one.solver, []).extend(steps)
    return {solver: steps for solver, steps in found.items() if steps}


def _plot(judged: Sequence[Judged], file: Path) -> None:
    curves = [curve("gate", "steps", solver, steps) for solver, steps in _labelled(judged).items()]
    with look_of_plots():
        drawn(curves).savefig(file)


def _errors(judged: Sequence[Judged]) -> TextTable:
    lines = []
    for solver, steps in _labelled(judged).items():
        found, shape = calibration_error(steps), curve("gate", "steps", solver, steps)
        lines.append(
            [
                solver,
                str(len(steps)),
                f"{shape.good:.3f}",
                estimate(found.ece),
                f"{found.chance:.3f}",
                f"{shape.brier:.3f}",
            ]
        )
    return TextTable(
        "Calibration",
        ["solver", "steps", "good", "ECE", "by chance", "Brier"],
        lines,
        ["By chance: the ECE that a calibrated reward would show on as many problems."],
    )


def _thresholds(draft: Sequence[Judged], title: str) -> TextTable:
    return calibration.table(title, [point for n in NS for point in calibration.points(draft, n)])
