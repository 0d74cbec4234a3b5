"""A person decides where a draft is refused: Enter lets the base write, "ok" takes the draft, other text is a step."""

from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from gsi_node import GSIConfig, compile_gsi, load_model, load_reward

draft, base, reward = load_model("pocket:draft"), load_model("pocket:base"), load_reward("pocket")
gsi = compile_gsi(
    draft=draft,
    base=base,
    reward=reward,
    config=GSIConfig(n=4),
    checkpointer=InMemorySaver(),  # a stop needs a checkpoint to go on from
    interrupt_before=["fallback"],
)
thread: Any = {"configurable": {"thread_id": "review"}}
problem: Any = {"problem": "Ben has 9 boxes with 19 cards in each box. Ben gives away 57 cards. How many are left?"}
while True:
    gsi.invoke(problem, thread)
    state = gsi.get_state(thread)
    if not state.next:
        break
    refused, problem = state.values["gsi_refused"], None  # from here on the run goes on, at its checkpoint
    print(f"refused at r̃ = {refused['tilted_reward']:.2f}: {refused['text'].strip()}")
    if said := input("step: "):
        step = {"source": "draft"} if said == "ok" else {"text": said}
        gsi.update_state(thread, {"steps": [step]}, as_node="by_hand")
for step in state.values["steps"]:
    print(f"{step['source']:5} {step['text'].strip()}")
