"""The nodes of the GSI graph: each reads the state, runs one stage, and returns plain values.

draft → (reward ∥ score_base) → tilt_and_accept → [fallback] → draft …, framed by begin and finish. A method that scans
goes (reward ∥ score_base) → tilt_and_accept once a chunk of its candidates, until one hits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.runtime import get_runtime
from langgraph.types import Overwrite

from gsi_node.answer import last_boxed
from gsi_node.errors import BackendUnavailable, ResumeMismatch
from gsi_node.graph.context import overridden, overrides_in
from gsi_node.graph.inputs import read_initial_steps, read_problem, read_problem_id
from gsi_node.graph.records import (
    lost_draft,
    pack_step,
    prefix_of,
    scan_record,
    step_record,
    unpack_step,
)
from gsi_node.graph.state import plain_bill
from gsi_node.identity import as_kept, differing_parts
from gsi_node.protocols import TokenModel
from gsi_node.step import stages
from gsi_node.step.calls import Stage, arun, run
from gsi_node.step.config import GSIConfig, completed
from gsi_node.step.context import Models, Moment
from gsi_node.step.speculate import speculate
from gsi_node.types import Plain, Score, Step, Usage

State = Mapping[str, Any]
_log = logging.getLogger("gsi_node")


class StageNode(Runnable[Any, Plain]):
    """One body for sync and async graphs: a stage is run here, or its model calls are awaited; adds to `usage`."""

    def __init__(self, name: str, body: Callable[[State], Plain | Stage[Plain]]) -> None:
        self.name = name
        self.body = body

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Plain:
        stage = self.body(input)
        if isinstance(stage, dict):
            return stage
        update, bill = run(stage)
        return {**update, "usage": plain_bill(bill)}

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Plain:
        stage = self.body(input)
        if isinstance(stage, dict):
            return stage
        update, bill = await arun(stage)
        return {**update, "usage": plain_bill(bill)}


class GSINodes:
    """The node bodies over one set of models and one compiled configuration."""

    def __init__(self, models: Models, config: GSIConfig, name: str) -> None:
        self.models = models
        self.name = name
        self.config = config
        self.stop_ids = models.stop_ids()
        self.identity = {"config": config.model_dump(), "models": models.fingerprints()}

    def begin(self, state: State) -> Plain:
        """Read the input, and overwrite whatever an earlier problem left on the thread."""
        problem = read_problem(state, self.config)
        problem_id = read_problem_id(state.get("problem_id"), problem)
        overrides = overrides_in(get_runtime().context)
        config = overridden(self.config, overrides)
        steps, finished = read_initial_steps(state.get("initial_steps"), self.models.language_models())
        return {
            **dict.fromkeys(("response", "answer", "acceptance_rate", "degraded", *CANDIDATES)),
            "gsi_run": {"problem": problem, "problem_id": problem_id, "overrides": overrides, **self.identity},
            "steps": Overwrite(steps),
            "usage": Overwrite({role: asdict(Usage()) for role in sorted(config.rule.models)}),
            "stop_reason": _stop_reason(steps, finished, config),
        }

    def draft(self, state: State) -> Stage[Plain]:
        """y_1..y_n from the model that proposes."""
        now = self._moment(state)
        rule, draft, base = now.config.rule, self.models.draft, self.models.base
        n = 1 if rule.single else now.config.n
        if rule.propose == "specdec":
            assert isinstance(draft, TokenModel) and isinstance(base, TokenModel)
            choosers = partial(now.chooser, "draft")
            steps = yield from speculate(draft, base, now.prefix, n, now.law, now.config.gamma, choosers)
        else:
            model = draft if rule.propose == "draft" else base
            assert model is not None
            why = lost_draft(state["steps"])
            if why is None:
                try:
                    steps = yield from stages.draft(model, rule.propose, now.prefix, n, now.key("draft"), now.law)
                except BackendUnavailable as error:
                    if not now.config.allow_degraded or rule.propose != "draft":
                        raise
                    why = str(error)
                    _log.warning("the draft is lost, the base goes on alone: %s", why)
            if why is not None:
                return {**dict.fromkeys(CANDIDATES), "gsi_refused": {"degraded": why}}
        steps = stages.scan_order(rule, steps, now.chooser("order"))
        return {**dict.fromkeys(CANDIDATES), "gsi_batch": [pack_step(step) for step in steps]}

    def reward(self, state: State) -> Stage[Plain]:
        """r_i of the next candidates."""
        now = self._moment(state)
        assert self.models.reward is not None
        known, steps = self._unjudged(now, state, "gsi_rewards")
        return {"gsi_rewards": known + (yield from stages.reward(self.models.reward, now.prefix, steps))}

    def score_base(self, state: State) -> Stage[Plain]:
        """log π_B(y_i | x) of the next candidates."""
        now = self._moment(state)
        assert self.models.base is not None
        known, steps = self._unjudged(now, state, "gsi_scores")
        scores = yield from stages.score(self.models.base, now.prefix, steps, now.law)
        return {"gsi_scores": known + [list(score) for score in scores]}

    def tilt_and_accept(self, state: State) -> Plain:
        """Choose i* and commit y_{i*}, or refuse it and leave the step to the fallback; or ask for more judgements."""
        now = self._moment(state)
        rule, config, rewards = now.config.rule, now.config, state["gsi_rewards"]
        steps = [unpack_step(record) for record in state["gsi_batch"]]
        scores = None if state["gsi_scores"] is None else [Score(*pair) for pair in state["gsi_scores"]]
        judged = len(rewards) if rule.scans else len(steps)
        batch = stages.tilt(rule, steps[:judged], rewards, scores, config)
        new = range((judged - 1) // config.chunk_size * config.chunk_size if rule.scans else 0, judged)
        found = stages.decide(rule, batch, new, len(steps), self.models.reward, now.chooser, config)
        if found is None:
            return {}
        record = step_record(
            source=rule.propose,
            accepted=found.accepted,
            steps=steps,
            batch=batch,
            chosen=found.chosen,
            scores=scores,
            every=config.record == "candidates",
        )
        if found.hit is not None:
            record["scan"] = scan_record(batch, found.hit, config.log_ratio_clip)
        if found.chosen is None or not found.accepted:
            return {**dict.fromkeys(CANDIDATES), "gsi_refused": record}
        return self._commit(state, now, record, steps[found.chosen].finished)

    def _unjudged(self, now: Moment, state: State, key: str) -> tuple[list[Any], list[Step]]:
        """What a judge knows of this batch, and the candidates it judges next."""
        known = state[key] or []
        next_ones = stages.next_chunk(now.config.rule, len(state["gsi_batch"]), len(known), now.config)
        return known, [unpack_step(record) for record in state["gsi_batch"][next_ones.start : next_ones.stop]]

    def fallback(self, state: State) -> Stage[Plain]:
        """π_B drafts the step itself."""
        now = self._moment(state)
        rule, config = now.config.rule.fallback, now.config
        assert rule is not None and self.models.base is not None
        drawn = yield from stages.fallback(
            rule,
            self.models.base,
            self.models.reward,
            now.prefix,
            config.n_fallback or config.n,
            now.key("fallback"),
            now.law,
            now.chooser("fallback-select"),
            config,
        )
        record = step_record(
            source="base",
            accepted=False,
            steps=drawn.steps,
            batch=drawn.batch,
            chosen=drawn.chosen,
            scores=None,
            every=config.record == "candidates",
        )
        refused = state["gsi_refused"]
        record |= refused if "degraded" in refused else {"rejected": refused}
        return self._commit(state, now, record, drawn.steps[drawn.chosen].finished)

    def finish(self, state: State) -> Plain:
        """The result, from the committed steps."""
        records = state["steps"]
        decided = [record["accepted"] for record in records if record["source"] != "initial"]
        response = "".join(record["text"] for record in records)
        answer = last_boxed(response)
        degraded = lost_draft(records)
        about = {
            "problem_id": state["gsi_run"]["problem_id"],
            "answer": answer,
            "stop_reason": state["stop_reason"],
            **({"degraded": degraded} if degraded else {}),
        }
        return {
            **dict.fromkeys(CANDIDATES),
            "response": response,
            "answer": answer,
            "acceptance_rate": sum(decided) / len(decided) if decided else None,
            "degraded": degraded,
            "messages": [AIMessage(content=response, name=self.name, response_metadata=about)],
        }

    def _commit(self, state: State, now: Moment, record: Plain, finished: bool) -> Plain:
        """Append a decided step, tell the stream about it, and see whether the run is over."""
        records = [*state["steps"], record]
        reason = _stop_reason(records, finished, now.config)
        index = len(records) - 1
        get_runtime().stream_writer({"gsi_step": {"problem_id": now.problem_id, "index": index, **record}})
        return {**dict.fromkeys(CANDIDATES), "steps": [record], "stop_reason": reason}

    def _moment(self, state: State) -> Moment:
        """The run as the checkpoint has it, refused where the compiled settings or models are others."""
        run = {**state["gsi_run"], "config": completed(state["gsi_run"]["config"])}
        here = {**self.identity, "overrides": overrides_in(get_runtime().context) or run["overrides"]}
        here["models"] = as_kept(run["models"], here["models"])
        if any(run[part] != here[part] for part in here):
            raise ResumeMismatch(f"this run was begun under other settings: {_differences(run, here)}")
        config = overridden(self.config, run["overrides"])
        tokens = sum(len(record["token_ids"]) for record in state["steps"])
        law = config.law(tokens_so_far=tokens, stop_ids=self.stop_ids)
        return Moment(config, run["problem_id"], prefix_of(run["problem"], state["steps"]), law)


CANDIDATES = ("gsi_batch", "gsi_rewards", "gsi_scores", "gsi_refused")  # cleared whenever they are not needed


def _stop_reason(records: list[Plain], finished: bool, config: GSIConfig) -> str | None:
    """Why the run is over after the last record, the first reason that holds; None while it goes on."""
    if finished:
        return "eos"
    if last_boxed("".join(record["text"] for record in records)) is not None:
        return "answer"
    if sum(len(record["token_ids"]) for record in records) >= config.max_tokens:
        return "max_tokens"
    if sum(record["source"] != "initial" for record in records) >= config.max_steps:
        return "max_steps"
    return None


def _differences(then: Plain, here: Plain) -> str:
    """The keys whose values differ between a checkpoint and this graph, with both values."""
    parts = [
        f"{part}.{key}: {then[part].get(key)!r} in the checkpoint, {here[part].get(key)!r} here"
        f"{differing_parts(then[part].get(key), here[part].get(key))}"
        for part in here
        for key in sorted({*then[part], *here[part]})
        if then[part].get(key) != here[part].get(key)
    ]
    return "; ".join(parts) + ". Resume with those of the checkpoint, or begin on a new thread_id"
