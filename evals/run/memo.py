"""What models answered in the rows of one problem and seed, taken over by other methods' rows of it.

An answer is a function of what is asked and of nothing else (docs/math.md §8): the model's fingerprint, the rendered
ids of the prefix, the key, the law and n. While their prefixes agree, methods with one set of streams ask the same.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextvars import ContextVar
from threading import Lock

from gsi_node.cancel import result_of
from gsi_node.protocols import ask
from gsi_node.step.guess import Asking, CallValue, value_of


class Memo:
    """Answers by what was asked. What several rows ask at the same time is asked once, and the others wait for it.

    It is in memory, and lives as long as a row of its problem: what a kill loses is one problem's sharing.
    """

    def __init__(self) -> None:
        self._answers: dict[CallValue, Future[list[object] | None]] = {}
        self._lock = Lock()

    def answer(self, call: Asking) -> list[object]:
        """`ask` of the call, or what it said before. Raises what `ask` raises; that is not kept."""
        value = value_of(call)
        while True:
            with self._lock:
                known = self._answers.get(value)
                if known is None:
                    mine = self._answers[value] = Future()
                    break
            if (found := result_of(known)) is not None:
                return list(found)
        try:
            answer: list[object] = ask(call.backend, call.method, *call.args)
        except BaseException:
            with self._lock:
                del self._answers[value]
            mine.set_result(None)  # one who waits asks for itself
            raise
        mine.set_result(answer)
        return list(answer)


MEMO: ContextVar[Memo | None] = ContextVar("evals_memo", default=None)
"""That of the row being solved; None where rows share nothing."""
