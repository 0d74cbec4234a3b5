"""A run that dies after its second step goes on from its checkpoint file, to the token ids of a run that never died."""

import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from gsi_node import GSIConfig, StrictSerializer, compile_gsi, load_model, load_reward

PROBLEM = {"problem": "Ben has 9 boxes with 19 cards in each box. Ben gives away 57 cards. How many are left?"}
THREAD: Any = {"configurable": {"thread_id": "monday"}}
parts: Any = {"draft": load_model("pocket:draft"), "base": load_model("pocket:base"), "reward": load_reward("pocket")}


def opened(file: Path) -> Any:
    """The graph over a checkpoint file, as a new process would make it."""
    saver = SqliteSaver(sqlite3.connect(file, check_same_thread=False), serde=StrictSerializer())
    return compile_gsi(**parts, config=GSIConfig(n=4), checkpointer=saver)


file = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()) / "run.sqlite"
for number, event in enumerate(opened(file).stream(PROBLEM, THREAD, stream_mode="custom", durability="sync"), 1):
    print(f"step {number}: {event['gsi_step']['text'].strip()}")
    if number == 2:
        break  # the process dies here

result = opened(file).invoke(None, THREAD)
whole = compile_gsi(**parts, config=GSIConfig(n=4)).invoke(PROBLEM)
print(f"resumed to {len(result['steps'])} steps, answer {result['answer']}")
print("same token ids:", [s["token_ids"] for s in result["steps"]] == [s["token_ids"] for s in whole["steps"]])
