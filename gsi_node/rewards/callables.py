"""Any Python function as a reward."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import cast

from gsi_node.cancel import run_cancellable
from gsi_node.errors import BackendError
from gsi_node.identity import described, fingerprint_of
from gsi_node.rewards.constant import ConstantWatch
from gsi_node.types import Prefix, Step

Function = Callable[[str, list[str]], float] | Callable[[str, list[str]], Awaitable[float]]


def callable_reward(
    fn: Function, range: tuple[float, float] = (0.0, 1.0), *, name: str | None = None, fingerprint: str | None = None
) -> CallableReward:
    """fn(problem, step_texts) -> the reward of the last step, in `range`; fn may be async, its calls then run together.

    fingerprint: names what determines the rewards, for checkpoints; None takes the function's source and the plain
    values that it holds (gsi_node.identity.described). Give one where fn reads anything else: a model, a file.
    """
    return CallableReward(fn, range, name=name, fingerprint=fingerprint)


class CallableReward:
    """r(x, y) = fn(problem, texts of the committed steps and y). Empty steps are handed on as they are."""

    def __init__(
        self, fn: Function, range: tuple[float, float], *, name: str | None = None, fingerprint: str | None = None
    ) -> None:
        self.name = name or str(getattr(fn, "__qualname__", type(fn).__name__))
        self.range = (float(range[0]), float(range[1]))
        self._fn = fn
        self._async = any(map(inspect.iscoroutinefunction, (fn, type(fn).__call__)))
        self._watch = ConstantWatch(self.name)
        content = fingerprint or f"{getattr(fn, '__module__', '')}.{self.name} {_source(fn)}"
        first = "callable:" + blake2b(f"{content} {self.range}".encode(), digest_size=8).hexdigest()
        self._fingerprint = first if fingerprint else fingerprint_of(first, {"function": described(fn)})

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        if not self._async:
            return self._checked([self._fn(prefix.problem, texts) for texts in _texts(prefix, steps)])
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.acall(prefix, steps))
        with ThreadPoolExecutor(1) as other:  # a loop runs here already, as in a notebook
            return other.submit(asyncio.run, self.acall(prefix, steps)).result()

    async def acall(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        if not self._async:
            return await run_cancellable(self.__call__, prefix, steps)
        calls = (cast("Awaitable[float]", self._fn(prefix.problem, texts)) for texts in _texts(prefix, steps))
        return self._checked(await asyncio.gather(*calls))

    def _checked(self, values: Sequence[object]) -> list[float]:
        rewards = []
        for i, value in enumerate(values):
            if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
                raise BackendError(f"reward function {self.name} returned {value!r} for candidate {i}, not a number")
            rewards.append(float(value))
        self._watch.see(rewards)
        return rewards


def _texts(prefix: Prefix, steps: Sequence[Step]) -> list[list[str]]:
    before = [step.text for step in prefix.steps]
    return [[*before, step.text] for step in steps]


def _source(fn: object) -> str:
    try:
        return inspect.getsource(fn)  # type: ignore[arg-type]
    except (OSError, TypeError):
        code = getattr(fn, "__code__", None)
        return repr((code.co_code, code.co_names)) if code is not None else type(fn).__qualname__
