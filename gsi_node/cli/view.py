"""How a run looks: each step as it is decided, the answer, and a closing table. 80 columns, legible without colour."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from gsi_node.host.escapes import escaped
from gsi_node.step.config import GSIConfig
from gsi_node.types import Plain

LEGEND = "r reward · ℓ log π_base − log π_draft · r̃ = r + ℓ/β · ess candidates that count"
LABELS = {
    "draft": ("✓ draft", "bold green"),
    "base": ("✓ base", "bold cyan"),
    "specdec": ("✓ spec", "bold cyan"),
    "fallback": ("↻ base", "bold yellow"),
    "refused": ("✗ draft", "red"),
    "degraded": ("! base", "bold yellow"),
    "human": ("✎ human", "bold magenta"),
    "initial": ("· given", "dim"),
    "given": ("· close", "dim"),
}


def heading(problem: str, number: int, total: int) -> RenderableType:
    """The problem, under a rule."""
    title = Text(f"Problem {number} of {total}" if total > 1 else "Problem", "bold")
    return Group(Rule(title, align="left", style="dim"), Padding(Text(_shown(problem), "bold"), (0, 0, 1, 2)))


def step(record: Plain, index: int, config: GSIConfig, sample: int | None = None) -> RenderableType:
    """One decided step; above a fallback, the draft that was refused. index: from 0. sample: j, where k > 1."""
    number = f"{index + 1}" if sample is None else f"#{sample} {index + 1}"
    refused = record.get("rejected")
    kind = "fallback" if refused else record["source"]
    kind = "degraded" if record.get("degraded") else kind
    kind = "human" if "human" in (record["source"], record.get("accepted_by")) else kind
    rows = Table.grid(padding=(0, 1))
    rows.add_column(justify="right", width=3 if sample is None else 6, style="dim")
    rows.add_column(width=7)
    rows.add_column(ratio=1)
    if refused:
        body = Text(_body(refused), "dim strike" if refused["text"] else "dim")
        rows.add_row(number, Text(*LABELS["refused"]), Group(body, Text(_verdict(refused, config), "red")))
        number = ""
    facts = _numbers(record, () if kind != "draft" else ("r̃",))
    body = Text(_body(record))
    rows.add_row(number, Text(*LABELS[kind]), Group(body, Text(facts, "dim")) if facts else body)
    return rows


def _body(record: Plain) -> str:
    if record["text"] is None:
        return "(no draft that the base could have made)"
    return _shown(record["text"].strip()) or "(no text)"


def _verdict(record: Plain, config: GSIConfig) -> str:
    """Why a draft was refused, and its other numbers."""
    if record["text"] is None:
        return f"refused: every weight is zero, of {record['n_candidates']}"
    rule = config.rule.accept
    assert rule is not None
    facts = _numbers(record, ("r̃", "r", "ℓ", "ess"), leave_out=rule.told)
    return f"refused: {rule.refusal(record, config)}" + (f" · {facts}" if facts else "")


def _numbers(record: Plain, first: Sequence[str], leave_out: str = "") -> str:
    """Reward, log-ratio (nats), tilted reward and effective sample size (of the candidates), where there are such."""
    ess = None if record["ess"] is None else f"ess {record['ess']:.1f}/{record['n_candidates']}"
    values = {
        "r̃": _equals("r̃", record["tilted_reward"], ".3f"),
        "r": _equals("r", record["reward"], ".3f"),
        "ℓ": _equals("ℓ", record["log_ratio"], "+.2f"),
        "ess": ess,
        "draft": None if record.get("draft") is None else f"draft/{record['draft']}",
    }
    order = [*first, *(name for name in values if name not in first)]
    return " · ".join(value for name in order if name != leave_out and (value := values[name]) is not None)


def _equals(name: str, value: float | None, form: str) -> str | None:
    return None if value is None else f"{name} {value:{form}}"


def result(outcome: Plain, seconds: float) -> RenderableType:
    """The answer, the votes of several samples, and how the run ended."""
    rows = Table.grid(padding=(0, 1))
    rows.add_column(justify="right", width=11, style="dim")
    rows.add_column(ratio=1)
    answer = outcome["answer"]
    rows.add_row("answer", Text("none", "bold red") if answer is None else Text(_shown(answer), "bold green"))
    samples, steps = outcome["samples"], sum(len(sample["steps"]) for sample in outcome["samples"])
    if len(samples) > 1:
        for i, vote in enumerate(outcome["votes"]):
            voters = " ".join(f"#{j}" for j in vote["samples"])
            line = f"{_shown(vote['answer'])}: weight {vote['weight']:.3f} from {voters}"
            rows.add_row("" if i else "votes", line)
        silent = [f"#{sample['index']}" for sample in samples if sample["answer"] is None]
        if silent:
            rows.add_row("" if outcome["votes"] else "votes", f"no answer from {' '.join(silent)}")
    for why in dict.fromkeys(s["degraded"] for s in samples if s.get("degraded")):
        rows.add_row(Text("degraded", "bold yellow"), f"the draft was lost, the base went on alone: {_shown(why)}")
    reasons = " ".join(dict.fromkeys(sample["stop_reason"] for sample in samples))
    rows.add_row(
        "after", f"{steps} step{'s' if steps != 1 else ''}{accepted(outcome)} · stopped by {reasons} · {seconds:.1f} s"
    )
    return Padding(rows, (1, 0))


def failure(why: str) -> RenderableType:
    """Why a problem of several has no result."""
    rows = Table.grid(padding=(0, 1))
    rows.add_column(justify="right", width=11)
    rows.add_column(ratio=1)
    rows.add_row(Text("error", "bold red"), _shown(why))
    return Padding(rows, (0, 0, 1, 0))


def accepted(outcome: Plain) -> str:
    """The acceptance rate as a clause, empty where nothing was decided."""
    rate = outcome["acceptance_rate"]
    return "" if rate is None else f", {100 * rate:.0f} % accepted"


def closing(outcomes: Sequence[Plain], config: GSIConfig) -> RenderableType:
    """What all of it took, by model, and the acceptance rate over all decided steps."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.add_column("model")
    for name in ("generated tokens", "scored tokens", "calls", "seconds"):
        table.add_column(name, justify="right")
    told = sorted({role for outcome in outcomes for role in outcome["usage"]})
    for role in [name for kind in ("draft", "base", "reward") for name in told if name.partition("/")[0] == kind]:
        bills = [outcome["usage"][role] for outcome in outcomes if role in outcome["usage"]]
        if bills:
            tokens = [sum(bill[key] for bill in bills) for key in ("generated_tokens", "scored_tokens", "calls")]
            seconds = sum(bill["seconds"] for bill in bills)
            table.add_row(role, *(f"{count:,}" if count else "–" for count in tokens), f"{seconds:.2f}")
    decided = [
        record["accepted"]
        for outcome in outcomes
        for sample in outcome["samples"]
        for record in sample["steps"]
        if record["accepted"] is not None
    ]
    rate = (
        f"{sum(decided)} of {len(decided)} steps accepted ({100 * sum(decided) / len(decided):.0f} %)"
        if decided
        else ""
    )
    about = f"{config.method}, n = {config.n}, seed {config.seed}"
    summary = Text(" · ".join(filter(None, (rate, about))))
    return Group(Rule(style="dim"), table, summary, Text(LEGEND, "dim"))


def _shown(text: str) -> str:
    """What a model wrote, its line ends kept."""
    return escaped(text, keep="\n")
