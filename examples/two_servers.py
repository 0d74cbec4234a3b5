"""Draft and base behind two model servers, such as vLLM's: three strings say where. `gsi doctor` checks them first."""

from gsi_node import GSIConfig, compile_gsi, load_model, load_reward

DRAFT = "server:http://127.0.0.1:8001/v1#Qwen/Qwen2.5-Math-1.5B-Instruct"
BASE = "server:http://127.0.0.1:8002/v1#Qwen/Qwen2.5-Math-7B-Instruct"
REWARD = "verifier"

# At T = 1 a server's log-probabilities are exact; below it they have a certified bound (docs/servers.md).
config = GSIConfig(n=16, temperature=1.0)

gsi = compile_gsi(draft=load_model(DRAFT), base=load_model(BASE), reward=load_reward(REWARD), config=config)
result = gsi.invoke({"problem": "What is 12 * (7 + 5)?"})
print(result["response"])
print(f"{len(result['steps'])} steps, answer {result['answer']}, stopped by {result['stop_reason']}")
