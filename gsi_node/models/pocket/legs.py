"""Counting the legs of some animals (the facts are those of reasoning-gym's `leg_counting`)."""

from __future__ import annotations

from random import Random
from typing import cast

from gsi_node.models.pocket.content import Content, Family, Params, Step, final, product

_BY_LEGS = {
    0: "snake, sea slug, jellyfish, flatworm, leech",
    2: "chicken, bird, human, duck",
    4: "dog, cat, cow, horse, lion, elephant, giraffe, tiger, deer, sheep",
    5: "starfish",
    6: "insect, ant, butterfly, beetle, bee, wasp, grasshopper, cricket, cockroach, praying mantis, firefly",
    8: "spider, scorpion",
    10: "crab, lobster, shrimp",
    14: "woodlouse",
}
LEGS = {name: legs for legs, names in _BY_LEGS.items() for name in names.split(", ")}
EXACT = (
    "Your task is to count how many legs there are in total when given a list of animals.\n\n"
    "Now, how many legs are there in total if you have {}?"
)


def sample_legs(rng: Random) -> Params:
    """Two or three kinds of animal, one to nine of each: count, name, count, name, …"""
    params: list[object] = []
    for name in rng.sample(tuple(LEGS), rng.choice((2, 3))):
        params += [rng.randint(1, 9), name]
    return tuple(params)


def build_legs(params: Params) -> Content:
    """Parameters: count, name, count, name, …"""
    counts, names = cast(tuple[int, ...], params[0::2]), cast(tuple[str, ...], params[1::2])
    listed = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in zip(counts, names, strict=True)]
    steps: list[Step] = []
    total = 0
    for place, (count, name) in enumerate(zip(counts, names, strict=True)):
        legs = count * LEGS[name]
        line = f"{listed[place]}: {product(count, LEGS[name])} legs"
        if place:
            steps.append((f"{line}.",))
            steps.append((f"{total} + {legs} = {total + legs}.",))
        else:
            steps.append((f"{line}.", f"First, {line}."))
        total += legs
    steps.append(final(str(total), "There are {} legs."))
    text = ", ".join(listed)
    exact = EXACT.format(text)
    asks = (f"How many legs do {text} have in total?", f"Count the legs: {text}.")
    key = "legs " + ", ".join(sorted(listed))
    return Content(key, asks, tuple(steps), str(total), (exact, exact + "\n"))


LEGS_FAMILY = Family(sample_legs, build_legs)
