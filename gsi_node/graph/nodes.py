"""The nodes of the GSI graph: each reads the state, runs one stage, and returns plain values.

draft → (reward ∥ score_base) → tilt_and_accept → [fallback] → draft …, framed by begin and finish. A method that scans
goes (reward ∥ score_base) → tilt_and_accept once a chunk of its candidates, until one hits. by_hand reads a step that a
person has written into a checkpoint.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage
from langgraph.runtime import get_runtime
from langgraph.types import Overwrite

from gsi_node.answer import last_boxed
from gsi_node.errors import ResumeMismatch
from gsi_node.graph.context import forks, overridden, overrides_in
from gsi_node.graph.edits import digest, is_edited, refuse_edits, written_step
from gsi_node.graph.inputs import as_input, read_input
from gsi_node.graph.stage_node import State
from gsi_node.graph.telling import Saying, summed_usage
from gsi_node.graph.verdicts import pack_verdict, read_verdict
from gsi_node.identity import differing
from gsi_node.protocols import reads_likely
from gsi_node.step.by_hand import decide_by_hand
from gsi_node.step.calls import Stage
from gsi_node.step.check import check_drafts, check_thinking
from gsi_node.step.config import GSIConfig, completed
from gsi_node.step.context import Models, StepContext
from gsi_node.step.decide import Decision, fall_back, look_ahead, propose
from gsi_node.step.guesses import drop_guesses
from gsi_node.step.judges import rewards_of, scores_of
from gsi_node.step.judging import Continue, Judging, NoDraft, Refuse
from gsi_node.step.problem import pack_asked, read_initial_steps, read_problem_id, unpack_asked
from gsi_node.step.records import (
    acceptance_rate,
    answering,
    lost_draft,
    next_context,
    pack_step,
    response,
    standing,
    step_record,
    unpack_step,
)
from gsi_node.types import Plain, Score, Usage


class GSINodes:
    """The node bodies over one set of models and one compiled configuration."""

    def __init__(self, models: Models, config: GSIConfig, name: str) -> None:
        self.models = models
        self.name = name
        self.config = config
        self.identity = {"config": config.identity(), "models": models.fingerprints()}

    def begin(self, state: State) -> Plain:
        """Read the input, and overwrite whatever an earlier problem left on the thread."""
        asked = read_input(state, self.config)
        problem_id = read_problem_id(state.get("problem_id"), asked)
        overrides = overrides_in(get_runtime().context)
        config = overridden(self.config, overrides)
        check_drafts(self.models, config)
        check_thinking(self.models, config)
        steps, finished = read_initial_steps(
            state.get("initial_steps"), self.models.language_models(), config.law().ends
        )
        given, reason = standing(self.models, config, steps, finished)
        steps = [*steps, *given]
        fork = [{"step": len(steps), "overrides": overrides}] if overrides and forks(get_runtime().context) else []
        return {
            **CLEARED,
            **dict.fromkeys(("response", "answer", "acceptance_rate", "degraded")),
            "gsi_run": {
                **pack_asked(asked, problem_id),
                "overrides": overrides,
                "forks": fork,
                "message_id": f"gsi-{uuid4()}",
                **self.identity,
            },
            "gsi_digest": digest(steps),
            "steps": Overwrite(steps),
            "usage": Overwrite({role: asdict(Usage()) for role in self.models.asked(config.rule)}),
            "stop_reason": reason,
        }

    def draft(self, state: State) -> Stage[Plain]:
        """y_1..y_n from the model that proposes."""
        found = yield from propose(self._context(state))
        if isinstance(found, NoDraft):
            return {**CLEARED, "gsi_verdict": pack_verdict(found)}
        likely = reads_likely(self.models.base)
        return {**CLEARED, "gsi_batch": [pack_step(step, likely=likely) for step in found.steps]}

    def reward(self, state: State) -> Stage[Plain]:
        """r_i of the next candidates."""
        context, known = self._context(state), state["gsi_rewards"] or []
        judging = _judging(context, state, len(known))
        rewards = known + (yield from rewards_of(context, judging.next_chunk()))
        look_ahead(context, judging.steps, rewards)
        return {"gsi_rewards": rewards}

    def score_base(self, state: State) -> Stage[Plain]:
        """log π_B(y_i | x) of the next candidates."""
        context, known = self._context(state), state["gsi_scores"] or []
        scores = yield from scores_of(context, _judging(context, state, len(known)).next_chunk())
        return {"gsi_scores": known + [list(score) for score in scores]}

    def tilt_and_accept(self, state: State) -> Plain:
        """Choose i* and commit y_{i*}, or refuse it and leave the step to the fallback; or ask for more judgements."""
        context, before = self._context(state), read_verdict(state)
        judging = _judging(context, state, before.judged if isinstance(before, Continue) else 0)
        scores = None if state["gsi_scores"] is None else [Score(*pair) for pair in state["gsi_scores"]]
        judging = judging.judged(state["gsi_rewards"], scores)
        verdict = judging.verdict(context.chooser)
        if isinstance(verdict, Continue):
            return {"gsi_verdict": pack_verdict(verdict)}
        record = step_record(context, judging, verdict)
        if isinstance(verdict, Refuse):
            return {**CLEARED, "gsi_verdict": pack_verdict(verdict), "gsi_refused": record}
        return self._commit(state, context, Decision(judging.steps[verdict.chosen], record, verdict))

    def fallback(self, state: State) -> Stage[Plain]:
        """π_B drafts the step itself."""
        context, verdict = self._context(state), read_verdict(state)
        before = {"degraded": verdict.why} if isinstance(verdict, NoDraft) else {"rejected": state["gsi_refused"]}
        return self._commit(state, context, (yield from fall_back(context, before)))

    def by_hand(self, state: State) -> Stage[Plain]:
        """The step that a person wrote, read as the next one of the run."""
        written, verdict = written_step(state), read_verdict(state)
        state = {**state, "steps": state["steps"][:-1]}
        before = {"rejected": state["gsi_refused"]} if isinstance(verdict, Refuse) else {}
        before = {"degraded": verdict.why} if isinstance(verdict, NoDraft) else before
        context = self._context(state)
        update = self._commit(state, context, (yield from decide_by_hand(context, written, before)))
        return {**update, "steps": Overwrite([*state["steps"], *update["steps"]])}

    def finish(self, state: State) -> Plain:
        """The result, from the committed steps."""
        records = state["steps"]
        refuse_edits(state)
        drop_guesses()
        if self.forked(state):
            raise ResumeMismatch("context: fork: the run is over, and no step is left to decide; fork at one before it")
        whole, degraded = response(records), lost_draft(records)
        answer = last_boxed(answering(records))
        run = state["gsi_run"]
        about = {
            "model_name": self.name,
            "problem_id": run["problem_id"],
            "answer": answer,
            "stop_reason": state["stop_reason"],
            **({"degraded": degraded} if degraded else {}),
        }
        return {
            **CLEARED,
            "response": whole,
            "answer": answer,
            "acceptance_rate": acceptance_rate(records),
            "degraded": degraded,
            "messages": [
                AIMessage(
                    content=whole,
                    id=run.get("message_id"),  # a run of 0.1.0 has none
                    name=self.name,
                    response_metadata=about,
                    usage_metadata=summed_usage(state["usage"]),
                )
            ],
        }

    def sayings(self, state: State, update: Plain) -> tuple[Any, list[Saying]]:
        """What was asked, and of a node's update the committed steps, or the response. They share one id: in a stream
        the steps are the message's chunks."""
        if said := update.get("messages"):
            sayings = [Saying(said=said[0], disable_streaming=True)]
        elif isinstance(steps := update.get("steps"), list):
            name = state["gsi_run"].get("message_id")
            sayings = [Saying(said=AIMessage(record["text"], id=name, name=self.name)) for record in steps]
        else:
            return None, []
        asked = as_input(unpack_asked(state["gsi_run"]))
        return asked.get("messages") or asked["problem"], sayings

    def _commit(self, state: State, context: StepContext, decision: Decision) -> Plain:
        """Append a decided step and what is given behind it, in one update; tell the stream; see whether the run is
        over."""
        done, record = state["steps"], decision.record
        for fork in state["gsi_run"].get("forks", ()):
            if fork["step"] == len(done):
                record = {**record, "fork": {**record.get("fork", {}), **fork["overrides"]}}
        given, reason = standing(self.models, context.config, [*done, record], decision.step.finished)
        new = [record, *given]
        for index, record in enumerate(new, len(done)):
            get_runtime().stream_writer({"gsi_step": {"problem_id": context.problem_id, "index": index, **record}})
        verdict = pack_verdict(decision.verdict)
        changed = {"gsi_verdict": verdict, "gsi_digest": digest([*done, *new])}
        return {**CLEARED, **changed, "steps": new, "stop_reason": reason}

    def forked(self, state: State) -> Plain:
        """The run under what its context asks for instead, from the step being decided on; nothing where none does."""
        context, run = get_runtime().context, state["gsi_run"]
        overrides = overrides_in(context)
        changed = {**run["overrides"], **overrides}
        if not forks(context) or changed == run["overrides"]:
            return {}
        fork = {"step": len(state["steps"]) - is_edited(state), "overrides": overrides}
        return {"gsi_run": {**run, "overrides": changed, "forks": [*run.get("forks", ()), fork]}}

    def _context(self, state: State) -> StepContext:
        """The run as the checkpoint has it, refused where the law, the compiled settings or models are others."""
        refuse_edits(state)
        asked = unpack_asked(state["gsi_run"])
        run = {**state["gsi_run"], "config": completed(state["gsi_run"]["config"], self.config)}
        overrides = overrides_in(get_runtime().context) or run["overrides"]
        overrides = {**run["overrides"], **overrides} if forks(get_runtime().context) else overrides
        here = {**self.identity, "overrides": overrides}
        if any(run[part] != here[part] for part in here):
            raise ResumeMismatch(f"this run was begun under other settings: {_differences(run, here)}")
        config = overridden(self.config, run["overrides"])
        return next_context(self.models, config, asked, run["problem_id"], state["steps"])


CLEARED = dict.fromkeys(("gsi_batch", "gsi_rewards", "gsi_scores", "gsi_verdict", "gsi_refused"))
"""What a node writes that leaves nothing of the current step's candidates."""


def _judging(context: StepContext, state: State, count: int) -> Judging:
    """The candidates in the state, of which `count` were judged before."""
    return Judging.of(context, [unpack_step(record) for record in state["gsi_batch"]], count)


def _differences(then: Plain, here: Plain) -> str:
    """The keys whose values differ between a checkpoint and this graph, with both values."""
    parts = [
        f"{one.name}: {one.there!r} in the checkpoint, {one.here!r} here{one.parts}"
        for one in differing({part: then[part] for part in here}, here)
    ]
    return "; ".join(parts) + ". Resume with those of the checkpoint, or begin on a new thread_id"
