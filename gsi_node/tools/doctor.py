"""Does this setting of three models work, and what should change?

Loads or reaches everything, checks the vocabularies, measures the noise floor (mean |ℓ| where π_S = π_B must be 0), and
solves one problem.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO, TypeVar

from gsi_node.errors import GSIError
from gsi_node.host.escapes import one_line
from gsi_node.protocols import StepModel, close, dates_of, findings_of, tells_scores
from gsi_node.specs.load import load_model, load_reward, split_drafts
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models
from gsi_node.types import Key, Prefix, SamplingLaw

T = TypeVar("T")
PARAGRAPHS, TOKENS = 172, 8192  # of thinking: the usual number, and the fewest in published budgets
NOISE = 0.1  # nats a step: above it, weights at β = 20 move by more than a tenth


class Doctor:
    """One examination; `out` gets a line a finding. changes: what the user should change. all_loaded: not so where a
    model could not even be loaded or reached."""

    def __init__(self, config: GSIConfig, problem: str, out: TextIO) -> None:
        self.config = config
        self.problem = problem
        self.out = out
        self.changes: list[str] = []
        self.all_loaded = True

    def examine(self, draft: str, base: str, reward: str) -> bool:
        """Whether all is well."""
        given = split_drafts(draft)
        counts = {f"draft/{j}" if len(given) > 1 else "draft": count for j, (_, count) in enumerate(given)}
        specs: dict[str, tuple[str, Callable[[str], Any]]] = {
            **{role: (spec, load_model) for role, (spec, _) in zip(counts, given, strict=True)},
            "base": (base, load_model),
            "reward": (reward, load_reward),
        }
        wanted = {role: part for role, part in specs.items() if role.partition("/")[0] in self.config.rule.models}
        found: dict[str, Any] = {role: self._load(role, spec, load) for role, (spec, load) in wanted.items()}
        try:
            self._judge(found, counts)
        finally:
            for part in found.values():
                close(part)
        return not self.changes

    def _judge(self, found: dict[str, Any], counts: dict[str, int | None]) -> None:
        """found: by role, None where it could not be loaded. counts: of the drafts, those that they are given with."""
        models: dict[str, Any] = {role: m for role, m in found.items() if role != "reward" and m is not None}
        drafts = [m if counts[role] is None else (m, counts[role]) for role, m in models.items() if role in counts]
        if len(models) > 1:
            same = len({model.vocabulary for model in models.values()}) == 1
            differ = "differ, and steps travel as text" if self.config.rule.by_text else "DIFFER"
            self._say("vocabulary", "draft and base share one" if same else f"draft and base {differ}")
            for told in dates_of([m for role, m in models.items() if role in counts], models.get("base")):
                self._say("dates", told)
                self.changes.append(told)
        parts: dict[str, Any] = {"draft": drafts or None, "base": models.get("base"), "reward": found.get("reward")}
        pair = Models(**parts)
        thinks = bool(self._try("thinking", lambda: self._thinks(pair)))
        law = self.config.law(eos_ids=pair.eos_ids, thinks=thinks)
        for role, model in models.items():
            self._try(f"{role} noise", partial(self._noise, role, model, law))
        if all(part is not None for part in found.values()):
            self._try("one problem", lambda: self._solve(parts))
        self._say("verdict", "all is well" if not self.changes else "change this:")
        for change in self.changes:
            self.out.write(f"  - {one_line(change)}\n")

    def _load(self, role: str, spec: str, load: Callable[[str], T]) -> T | None:
        started = time.perf_counter()
        part = self._try(role, lambda: load(spec))
        self.all_loaded = self.all_loaded and part is not None
        if part is not None:
            self._say(role, f"{spec} in {time.perf_counter() - started:.1f} s")
            for finding in findings_of(part):
                self._say("", finding)
        return part

    def _thinks(self, models: Models) -> bool:
        """Whether the models think; then what they need, and whether the budgets are too small for it."""
        if models.thinking is None:
            return False
        config, most = self.config, self.config.max_thinking_tokens
        told = f"published runs take temperature 0.6, here it is {config.temperature:g}"
        self._say("thinking", f"before an answer about {PARAGRAPHS} paragraphs, 8,000 to 32,000 tokens; {told}")
        closed = most is not None and most < config.max_tokens
        if not closed and (config.max_steps < PARAGRAPHS or config.max_tokens < TOKENS):
            self.changes.append(
                f"budgets: max_steps {config.max_steps} and max_tokens {config.max_tokens} end most runs within the "
                "thinking: set max_steps to 512 and max_tokens to 32768, or max_thinking_tokens, below max_tokens, "
                "to close it by force"
            )
        return True

    def _noise(self, role: str, model: StepModel, law: SamplingLaw) -> None:
        """Mean |log π(y) scored − log π(y) sampled| a step, over the candidates of two steps."""
        told = len(findings_of(model))
        model.supports(law)
        told = self._news(model, told)  # of its step ends
        if not tells_scores(model, law):
            self._say(f"{role} noise", "not measured: it tells no log-probabilities of given steps")
            return
        prefix, gaps, bounds = Prefix(self.problem), [], []
        for place in range(2):
            steps = model.sample(prefix, 8, Key(0, "doctor", place, "draft"), law)
            scores = model.score(prefix, steps, law)
            gaps += [abs(s[0] - y.log_prob) for s, y in zip(scores, steps, strict=True)]
            bounds += [s[1] + y.log_prob_error for s, y in zip(scores, steps, strict=True)]
            unfinished = [step for step in steps if not step.finished]
            if not unfinished:
                break
            prefix = prefix.extended(unfinished[0])
        self._news(model, told)  # of how it decodes
        mean, bound = sum(gaps) / len(gaps), max(bounds)
        self._say(f"{role} noise", f"mean |ℓ| {mean:.1e} nats a step with itself, certified bound {bound:.1e}")
        if mean > NOISE:
            self.changes.append(f"{role}: its scores differ from its samples by {mean:.2g} nats a step: use float32")
        if bound > self.config.max_log_ratio_error:
            self.changes.append(
                f"{role}: its log-probabilities are known within {bound:.2g} nats a step only: raise ?top_k, set "
                "temperature to 1, or serve it by `gsi serve`"
            )

    def _news(self, model: StepModel, told: int) -> int:
        """Say what was found out behind the first `told` findings; how many there are."""
        found = findings_of(model)
        for finding in found[told:]:
            self._say("", finding)
        return len(found)

    def _solve(self, parts: dict[str, Any]) -> None:
        from gsi_node.graph.build import compile_gsi

        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of dates, which were told above
            graph = compile_gsi(**parts, config=self.config)
        result = graph.invoke({"problem": self.problem})
        steps, seconds = result["steps"], time.perf_counter() - started
        ratios = [abs(step["log_ratio"]) for step in steps if step["log_ratio"] is not None]
        self._say("one problem", f"{self.problem!r}: {len(steps)} steps in {seconds:.1f} s, answer {result['answer']}")
        rate = result["acceptance_rate"]
        self._say(
            "", f"acceptance rate {'–' if rate is None else format(rate, '.2f')}, ended by {result['stop_reason']}"
        )
        if ratios:
            self._say("", f"mean |ℓ| of committed draft steps {sum(ratios) / len(ratios):.2f} nats")
        if result["answer"] is None:
            self.changes.append("the problem got no answer in a \\boxed{…}: check prompt, max_steps and max_tokens")

    def _try(self, what: str, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except (GSIError, MemoryError, RuntimeError) as error:  # torch's "out of memory" is a RuntimeError
            self._say(what, f"FAILED ({type(error).__name__})")
            self.changes.append(f"{what}: {error}")
            return None

    def _say(self, what: str, text: str) -> None:
        self.out.write(f"{what:12} {one_line(text)}\n")
        self.out.flush()
