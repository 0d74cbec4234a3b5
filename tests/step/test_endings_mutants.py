"""Mutants of where steps end: late, early, with a state kept over a step's end, by two rules at once. None survives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gsi_node.ends import END, StepEnds
from gsi_node.step import speculate as speculate_room
from gsi_node.step import stages
from gsi_node.tables import models as tables_room
from gsi_node.tables.models import TokenTable
from gsi_node.types import PARAGRAPH, Ends, Key, Prefix, SamplingLaw, Step
from tests.step.test_endings_law import check_method, check_sampled, check_scored, check_speculated


class Late(StepEnds):
    """Ends one token after the end."""

    def __init__(self, ends: Ends, tokens: Any, eos_ids: Any) -> None:
        super().__init__(ends, tokens, eos_ids)
        over = len(self.table)
        width = self.table.shape[1]
        late = (self.table == END) & ~np.isin(np.arange(width), self.kinds[sorted(self.eos_ids)])
        self.table = np.where(late, np.int16(over), self.table)
        self.table = np.concatenate((self.table, np.full((1, width), END, np.int16)))


class Early(StepEnds):
    """Ends where all but the last byte of an end is there."""

    def __init__(self, ends: Ends, tokens: Any, eos_ids: Any) -> None:
        super().__init__(
            replace(ends, strings=tuple(end[: max(1, len(end) - 1)] for end in ends.strings)), tokens, eos_ids
        )


class Untold(StepEnds):
    """after_text is not heeded."""

    def __init__(self, ends: Ends, tokens: Any, eos_ids: Any) -> None:
        super().__init__(Ends(ends.strings), tokens, eos_ids)


def _carried(patch: pytest.MonkeyPatch) -> None:
    """A step begins in the state that the whole response is in, an END behind it or not."""
    real = TokenTable.sample

    def sample(self: TokenTable, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        state = 0
        for token in (token for step in prefix.steps for token in step.token_ids):
            state = max(0, self.step_ends(law).after(state, token))
        with patch.context() as inside:
            inside.setattr(tables_room, "START", state)
            return real(self, prefix, n, key, law)

    patch.setattr(TokenTable, "sample", sample)


def _score_under_another_rule(patch: pytest.MonkeyPatch) -> None:
    real: Any = stages.score

    def score(model: Any, prefix: Prefix, steps: Any, law: SamplingLaw) -> Any:
        return real(model, prefix, steps, replace(law, ends=PARAGRAPH))

    patch.setattr(stages, "score", score)


def _fallback_under_another_rule(patch: pytest.MonkeyPatch) -> None:
    real: Any = stages.draft

    def draft(model: Any, role: str, prefix: Prefix, n: int, key: Key, law: SamplingLaw, **heard: Any) -> Any:
        return real(model, role, prefix, n, key, replace(law, ends=PARAGRAPH) if role == "base" else law, **heard)

    patch.setattr(stages, "draft", draft)


def _drafts_past_an_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(speculate_room._Row, "ended", property(lambda self: len(self.ids) == self.limit))


def _refused_drafts_count(patch: pytest.MonkeyPatch) -> None:
    """The state is left behind the drafted tokens, also where the base refuses one."""
    real: Any = speculate_room._Row.verify

    def verify(self: Any, p: Any) -> None:
        behind = self.states[-1]
        real(self, p)
        self.states[-1] = behind if self.states[-1] != END else END

    patch.setattr(speculate_room._Row, "verify", verify)


MUTANTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Callable[[], None]]] = {
    "late": (lambda patch: patch.setattr(tables_room, "StepEnds", Late), lambda: check_sampled("paragraph")),
    "early": (lambda patch: patch.setattr(tables_room, "StepEnds", Early), lambda: check_sampled("spanning")),
    "blank steps": (lambda patch: patch.setattr(tables_room, "StepEnds", Untold), lambda: check_sampled("line")),
    "scored late": (lambda patch: patch.setattr(tables_room, "StepEnds", Late), lambda: check_scored("paragraph")),
    "state carried over": (_carried, lambda: check_sampled("paragraph")),
    "finite beyond an end": (
        lambda patch: patch.setattr(StepEnds, "beyond", lambda self, ids: False),
        lambda: check_scored("line"),
    ),
    "scored under another rule": (_score_under_another_rule, lambda: check_method("gsi", "line")),
    "fallback under another rule": (_fallback_under_another_rule, lambda: check_method("gsi", "line")),
    "drafts past an end": (_drafts_past_an_end, lambda: check_speculated("line")),
    "refused drafts count": (_refused_drafts_count, lambda: check_speculated("line")),
    "speculates late": (lambda patch: patch.setattr(tables_room, "StepEnds", Late), lambda: check_speculated("one")),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_die(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, check = MUTANTS[name]
    check()
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        check()
