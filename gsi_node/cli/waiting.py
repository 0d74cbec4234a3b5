"""What a person sees while no step is decided: for how long, the tokens so far, and what is being waited for."""

from __future__ import annotations

import time
from collections import Counter

from rich.spinner import Spinner
from rich.text import Text

from gsi_node.types import Plain

PROPOSERS = {"draft": "draft", "base": "base", "specdec": "draft and base"}
"""Who is asked in the node "draft", by what a method says of who proposes."""


class Waiting:
    """A line that is up to date whenever it is drawn: 12 s · 1,204 tokens · waiting for reward and scoring.

    Seconds since it was made; tokens generated and scored by what has ended. otherwise: what stands there while no
    model is asked. propose: as a Method has it.
    """

    def __init__(self, otherwise: str, propose: str = "draft") -> None:
        self._otherwise = otherwise
        self._named = {"draft": PROPOSERS[propose], "reward": "reward", "score_base": "scoring", "fallback": "fallback"}
        self._running: dict[str, str] = {}
        self._tokens = 0
        self._began = time.monotonic()
        self._spinner = Spinner("dots")

    def hear(self, task: Plain) -> None:
        """An event of the stream mode "tasks": a node of the graph that begins, or that has ended with its bill."""
        if "result" not in task:
            if (name := self._named.get(task["name"])) is not None:
                self._running[task["id"]] = name
        elif self._running.pop(task["id"], None) is not None:
            for bill in task["result"].get("usage", {}).values():
                self._tokens += bill["generated_tokens"] + bill["scored_tokens"]

    def line(self) -> str:
        """As it stands now."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        told = [f"{minutes} min {seconds} s" if minutes else f"{seconds} s"]
        told += [f"{self._tokens:,} tokens"] if self._tokens else []
        counts = Counter(tuple(self._running.values()))  # a copy at once: it is drawn in a thread of its own
        names = [name if count == 1 else f"{name} × {count}" for name, count in counts.items()]
        return " · ".join([*told, f"waiting for {' and '.join(names)}" if names else self._otherwise])

    def __rich__(self) -> Spinner:
        self._spinner.text = Text(self.line(), no_wrap=True, overflow="ellipsis")
        return self._spinner
