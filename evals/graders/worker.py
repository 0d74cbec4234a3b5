"""The process that compares answers as mathematics: one JSON line in, one JSON line out, until standard input ends.

Started as `python -m evals.graders.worker SECONDS MEGABYTES`. It is made to be killed: by its owner when an answer
takes too long, and by its own alarm should the owner be gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import Any

GRACE = 2.0
"""Seconds after the limit at which the process ends itself if nobody did."""


def limit_memory(megabytes: int) -> None:
    """Refuse to grow beyond `megabytes` of address space, where the system can."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request: {"equal": bool, "reason": why it could not be told, or None}."""
    try:
        if request["kind"] == "rg":
            from evals.graders import gym

            return {"equal": gym.right(request["meta"], request["predicted"]), "reason": None}
        from evals.graders import symbolic
        from evals.graders.rules import Rules

        rules = Rules.of(request["meta"], symbolic.equal, by_text=request.get("by_text", True))
        return {"equal": rules.equal(request["gold"], request["predicted"]), "reason": None}
    except MemoryError:
        return {"equal": False, "reason": "the answer takes too much memory"}
    except RecursionError:
        return {"equal": False, "reason": "the answer is nested too deeply"}
    except Exception as error:  # noqa: BLE001 - whatever a hostile answer provokes in sympy, it is a wrong answer
        text = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        return {"equal": False, "reason": text[:300]}


def main(seconds: float, megabytes: int) -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a library that prints must not speak in our name
    limit_memory(megabytes)
    from evals.graders import symbolic  # noqa: F401 - imported before the first request's clock starts

    for line in _lines(replies):
        request = json.loads(line)
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds + GRACE)  # SIGALRM's default action ends the process
        reply = answer(request)
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _lines(replies: Any) -> Any:
    replies.write('"ready"\n')
    replies.flush()
    return sys.stdin


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
