"""Unit rates, rectangles, and two-step word problems."""

from __future__ import annotations

from random import Random

from gsi_node.pocket.world.content import Content, Params, ProblemFamily, Wordings, final, ints, minus, plus, product

NAMES = ("Anna", "Ben", "Carla", "David", "Emma", "Frank", "Lena", "Tom")
THINGS = ("apples", "books", "cards", "coins", "marbles", "pencils", "shells", "stamps")
RATES = (
    ("A car drives {t} miles in {m} hours. How far does it drive in {n} hours?", "miles", "hour"),
    ("A machine makes {t} parts in {m} hours. How many parts does it make in {n} hours?", "parts", "hour"),
    ("{m} tickets cost {t} dollars. How much do {n} tickets cost?", "dollars", "ticket"),
    ("{m} bags hold {t} apples. How many apples do {n} bags hold?", "apples", "bag"),
    ("A pump moves {t} liters in {m} minutes. How many liters does it move in {n} minutes?", "liters", "minute"),
    ("If {m} notebooks cost {t} dollars, what do {n} notebooks cost?", "dollars", "notebook"),
)


def sample_rate(rng: Random) -> Params:
    """Story, units 2 to 9 given, rate 2 to 20 a unit, another 2 to 9 units asked for."""
    given, asked = rng.sample(range(2, 10), 2)
    return rng.randrange(len(RATES)), given, rng.randint(2, 20), asked


def build_rate(params: Params) -> Content:
    """Parameters: story, units given, rate a unit, units asked for."""
    story, given, rate, asked = ints(params)
    text, what, unit = RATES[story]
    line = f"{given * rate} / {given} = {rate} {what}."
    steps: tuple[Wordings, ...] = (
        (f"One {unit}: {line}", f"For one {unit} that is {line}"),
        (f"{asked} {unit}s: {product(asked, rate)} {what}.",),
        final(str(asked * rate)),
    )
    key = f"rate {given * rate} {given} {asked}"
    return Content(key, (text.format(t=given * rate, m=given, n=asked),), steps, str(asked * rate))


def sample_rectangle(rng: Random) -> Params:
    """What is asked; a length of 2 to 40 and a width of 2 to 12."""
    return rng.randrange(4), rng.randint(2, 40), rng.randint(2, 12)


def build_rectangle(params: Params) -> Content:
    """Parameters: kind (area, perimeter, area from the perimeter, triangle), length or base, width or height."""
    kind, a, b = ints(params)
    steps: tuple[Wordings, ...]
    size = f"length {a} and width {b}"
    if kind == 0:
        result = a * b
        asks: tuple[str, ...] = (
            f"What is the area of a rectangle with {size}?",
            f"A rectangle has {size}. Find its area.",
            f"Find the area of a rectangle that is {a} long and {b} wide.",
        )
        steps = ((f"The area is {product(a, b)}.", f"Length times width is {product(a, b)}."),)
    elif kind == 1:
        result = 2 * (a + b)
        asks = (
            f"What is the perimeter of a rectangle with {size}?",
            f"A rectangle has {size}. Find its perimeter.",
            f"Find the perimeter of a rectangle that is {a} long and {b} wide.",
        )
        line = f"{plus(a, b)}."
        steps = (
            (f"Length plus width is {line}", f"Half the perimeter is {line}"),
            (f"The perimeter is {product(2, a + b)}.",),
        )
    elif kind == 2:
        around, half, result = 2 * (a + b), a + b, a * b
        asks = (
            f"A rectangle has perimeter {around} and width {b}. What is its area?",
            f"The perimeter of a rectangle is {around} and its width is {b}. Find its area.",
        )
        steps = (
            (f"Half the perimeter is {around} / 2 = {half}.",),
            (f"The length is {minus(half, b)}.",),
            (f"The area is {product(a, b)}.",),
        )
    else:
        base = 2 * a
        result = a * b
        asks = (
            f"What is the area of a triangle with base {base} and height {b}?",
            f"A triangle has base {base} and height {b}. Find its area.",
        )
        steps = (
            (f"Half the base is {base} / 2 = {a}.",),
            (f"The area is {product(a, b)}.",),
        )
    return Content(f"rectangle {kind} {a} {b}", asks, (*steps, final(str(result))), str(result))


def sample_word(rng: Random) -> Params:
    """Story, who, what, and three numbers that suit the story."""
    kind, who, what = rng.randrange(6), rng.randrange(len(NAMES)), rng.randrange(len(THINGS))
    if kind == 0:
        a, b = rng.randint(2, 9), rng.randint(3, 25)
        return kind, who, what, a, b, rng.randint(2, min(60, a * b - 1))
    if kind == 1:
        a, b = rng.randint(5, 80), rng.randint(5, 60)
        return kind, who, what, a, b, rng.randint(2, a + b - 1)
    if kind == 2:
        each, people = rng.randint(2, 15), rng.randint(2, 9)
        first = rng.randint(1, each * people - 1)
        return kind, who, what, first, each * people - first, people
    if kind == 3:
        return kind, who, what, rng.randint(2, 9), rng.randint(2, 20), rng.randint(5, 60)
    if kind == 4:
        count, price = rng.randint(2, 9), rng.randint(2, 12)
        return kind, who, what, count, price, rng.choice([n for n in (20, 50, 100, 200) if n > count * price])
    return kind, who, what, rng.randint(3, 40), rng.randint(2, 6), 0


def build_word(params: Params) -> Content:
    """Parameters: story, who, what, three numbers."""
    kind, who, what, a, b, c = ints(params)
    name, things = NAMES[who], THINGS[what]
    if kind == 0:
        ask = f"{name} has {a} boxes with {b} {things} in each box. {name} gives away {c} {things}. "
        asks = (ask + "How many are left?", ask + f"How many {things} does {name} have left?")
        result = a * b - c
        first: Wordings = (
            f"At first there are {product(a, b)} {things}.",
            f"{name} starts with {product(a, b)} {things}.",
        )
        second = f"After giving away {c} there are {minus(a * b, c)} left."
    elif kind == 1:
        ask = f"{name} has {a} {things}, finds {b} more and then loses {c}. "
        asks = (ask + f"How many {things} does {name} have now?", ask + "How many are left?")
        result = a + b - c
        first = (f"After finding {b} more: {plus(a, b)}.", f"First there are {plus(a, b)} {things}.")
        second = f"After losing {c}: {minus(a + b, c)}."
    elif kind == 2:
        ask = f"{name} has {a} {things} and gets {b} more. "
        asks = (
            ask + f"{c} children share them equally. How many does each child get?",
            ask + f"All of them are shared equally by {c} children. How many {things} does each get?",
        )
        result = (a + b) // c
        first = (
            f"Together there are {a} + {b} = {a + b} {things}.",
            f"There are {a} + {b} = {a + b} {things} to share.",
        )
        second = f"Each child gets {a + b} / {c} = {result}."
    elif kind == 3:
        ask = f"{name} buys {a} tickets for {b} dollars each and a hat for {c} dollars. "
        asks = (ask + "How much is that in all?", ask + f"How many dollars does {name} pay?")
        result = a * b + c
        first = (f"The tickets cost {product(a, b)} dollars.", f"{name} pays {product(a, b)} dollars for the tickets.")
        second = f"With the hat it is {plus(a * b, c)} dollars."
    elif kind == 4:
        ask = f"{name} buys {a} cakes for {b} dollars each and pays with {c} dollars. "
        asks = (ask + "How much change is there?", ask + f"How many dollars does {name} get back?")
        result = c - a * b
        first = (f"The cakes cost {product(a, b)} dollars.", f"{name} owes {product(a, b)} dollars.")
        second = f"The change is {minus(c, a * b)} dollars."
    else:
        ask = f"{name} has {a} {things}. A friend has {b} times as many. "
        asks = (ask + "How many do they have together?", ask + f"How many {things} do they have in all?")
        result = a * b + a
        first = (f"The friend has {product(b, a)} {things}.", f"{b} times as many is {product(b, a)}.")
        second = f"Together they have {plus(a * b, a)}."
    return Content(f"word {kind} {a} {b} {c}", asks, (first, (second,), final(str(result))), str(result))


RATE = ProblemFamily(sample_rate, build_rate)
RECTANGLE = ProblemFamily(sample_rectangle, build_rectangle)
WORD = ProblemFamily(sample_word, build_word)
