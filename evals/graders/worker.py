"""The process that grades: one JSON line in, one JSON line out, until standard input ends.

Started as `python -m evals.graders.worker MEGABYTES`. It is made to be killed: a request names the seconds of processor
time it may take, and the system ends the process at the first beyond, whatever it is doing, its owner gone or not.
Time that other processes take from it does not count, so a verdict does not depend on the machine's load.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from fractions import Fraction

from evals.graders import letters, pocket
from evals.graders.messages import GradeReply, GradeRequest
from evals.graders.rules import Rules
from gsi_node.answer import last_boxed
from gsi_node.posix import resource


def limit_memory(megabytes: int) -> None:
    """Refuse to grow beyond `megabytes` of address space, where the system can."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))


def answer(request: GradeRequest) -> GradeReply:
    """The reply to one request (messages.py)."""
    try:
        if "longest" in request:
            box = last_boxed(request["response"])
            return {"box": None if box is None else box[: request["longest"]], "length": len(box or "")}
        equal, reason = _compared(request)
        return {"equal": equal, "reason": reason}
    except MemoryError:
        return {"ungraded": "the answer takes too much memory"}
    except RecursionError:
        return {"equal": False, "reason": "the answer is nested too deeply"}
    except ImportError as error:
        return {"missing": str(error)}
    except ValueError as error:
        return {"equal": False, "reason": str(error)[:300]}
    except Exception as error:  # noqa: BLE001 - an answer that a scorer of reasoning-gym cannot read is wrong; a rule of
        # ours that fails has decided nothing
        told = f"{type(error).__name__}: {error}"[:300]
        return {"equal": False, "reason": told} if request["kind"] == "rg" else {"ungraded": told}


def _compared(request: GradeRequest) -> tuple[bool, str | None]:
    kind, gold, predicted = request["kind"], request["gold"], request["predicted"]
    if kind == "exact":
        return pocket.equal(gold, predicted)
    if kind == "choice":
        return letters.equal(gold, predicted, request["meta"])
    if kind == "rg":
        with _not_counted():
            from evals.graders import gym
        return gym.right(request["meta"], predicted), None
    if kind == "text":
        return Rules(undecided_is_false).equal(gold, predicted), None
    return Rules.of(request["meta"], _symbolic, by_text=request["by_text"]).equal(gold, predicted), None


def undecided_is_false(gold: str, predicted: str, rel_tol: Fraction | None) -> bool:
    """The Symbolic of answers that only texts and numbers may settle: what they do not is not equal."""
    return False


def _symbolic(gold: str, predicted: str, rel_tol: Fraction | None) -> bool:
    with _not_counted():
        from evals.graders import symbolic
    return symbolic.equal(gold, predicted, rel_tol)


@contextlib.contextmanager
def _not_counted() -> Iterator[None]:
    """Stop the clock of the request: what is imported for the first answer is no part of that answer's time."""
    left = signal.setitimer(signal.ITIMER_PROF, 0)[0]
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, left)


def main(megabytes: int) -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a library that prints must not speak in our name
    limit_memory(megabytes)
    replies.write('"ready"\n')
    replies.flush()
    for line in sys.stdin:
        request = json.loads(line)
        seconds = max(0.001, request["seconds"])  # a timer of 0 is none
        signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF's default action ends the process
        reply = answer(request)
        left = signal.setitimer(signal.ITIMER_PROF, 0)[0]
        replies.write(json.dumps({**reply, "spent": max(0.0, seconds - left)}) + "\n")
        replies.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
