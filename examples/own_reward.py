"""A reward of your own: any function of the problem and the steps' texts, in a range that you name."""

import re

from gsi_node import GSIConfig, callable_reward, compile_gsi, load_model


def short_and_checked(problem: str, steps: list[str]) -> float:
    """1 for a step whose every a * b = c is right, less for a longer one; 0 where one is wrong."""
    step = steps[-1]
    products = re.findall(r"(\d+) \* (\d+) = (\d+)(?! [-+*/])", step)
    right = all(int(a) * int(b) == int(c) for a, b, c in products)
    return max(0.1, 1 - len(step) / 500) if right else 0.0


gsi = compile_gsi(
    draft=load_model("pocket:draft"),
    base=load_model("pocket:base"),
    reward=callable_reward(short_and_checked, range=(0.0, 1.0)),
    config=GSIConfig(n=4, beta=10.0),
)
for step in gsi.invoke({"problem": "What is 12 * (7 + 5)?"})["steps"]:
    print(f"{step['source']:6} r {step['reward']:.2f}  {step['text'].strip()}")
