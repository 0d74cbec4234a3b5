"""Many problems at once: their forwards are shared, one that fails ends no other, and each has settings of its own."""

from collections import Counter

from gsi_node import GSIConfig, GSIError, compile_gsi, load_model, load_reward

draft, base, reward = load_model("pocket:draft"), load_model("pocket:base"), load_reward("pocket")
gsi = compile_gsi(draft=draft, base=base, reward=reward, config=GSIConfig(n=4))

problems = ["What is 12 * (7 + 5)?", "Solve for x: 3x + 7 = 25.", "", "What is 84 - 6 * 9?"]
inputs = [{"problem": problem} for problem in problems]
results = gsi.batch(inputs, {"max_concurrency": 4}, return_exceptions=True)
for problem, result in zip(problems, results, strict=True):
    print(f"{problem!r:30} {result if isinstance(result, GSIError) else result['answer']}")

# A vote: the same problem by seeds of their own, answers counted.
votes = Counter(gsi.invoke(inputs[1], context={"seed": seed, "n": 2})["answer"] for seed in range(5))
print("votes:", dict(votes.most_common()))
