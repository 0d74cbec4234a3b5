"""Watch a run: each step as it is decided, which inner node has done its work, and the text as chunks of a message."""

import asyncio

from gsi_node import GSIConfig, compile_gsi, load_model, load_reward

draft, base, reward = load_model("pocket:draft"), load_model("pocket:base"), load_reward("pocket")
gsi = compile_gsi(draft=draft, base=base, reward=reward, config=GSIConfig(n=4))
PROBLEM = {"problem": "What is 84 - 6 * 9?"}

# `custom`: one event a step, with its record, as soon as it is decided.
for event in gsi.stream(PROBLEM, stream_mode="custom"):
    step = event["gsi_step"]
    print(f"{step['source']:5} r = {step['reward']:.2f}  {step['text'].strip()}")

# `updates`: what each inner node has written. Several modes at once come as pairs.
print(" → ".join(node for update in gsi.stream(PROBLEM, stream_mode="updates") for node in update))


# `messages`: the text alone, one chunk a step, as of any chat model.
async def text() -> list[str]:
    return [str(chunk.content) async for chunk, _ in gsi.astream(PROBLEM, stream_mode="messages")]


print(f"{len(asyncio.run(text()))} chunks")
