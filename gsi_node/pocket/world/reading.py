"""What of a user's words is a problem of pocket math: the world's own question, whatever its spaces, case and signs.

A question belongs to the world where some family's parameters, read off its numbers, lie within that family's ranges
and the family's own wording of them is the question. Nothing is guessed: one letter more, and it is another question.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import gcd, lcm

from gsi_node.pocket.world import algebra, arithmetic, divisibility, lowest_terms, stories
from gsi_node.pocket.world.arithmetic import Expression
from gsi_node.pocket.world.check import normal
from gsi_node.pocket.world.content import Content, Params

_AROUND = re.compile(r"\s*([-+*/=(),:.?%])\s*")
_NUMBERS = re.compile(r"\d+")
_EQUATION = re.compile(r"(?:(\d+)\*?)?([a-z])([+-])(\d+)=(-?\d+)")
_TURNED = re.compile(r"(\d+)-(?:(\d+)\*?)?([a-z])=(-?\d+)")
_SUM = re.compile(r"[\d+*/()-]*\d[\d+*/()-]*")
_TOKEN = re.compile(r"\d{1,4}|[-+*/()]")
LONGEST = 300  # characters: no question of the world is half as long


def recognised(question: str) -> str | None:
    """The question in the world's own words, operators in ASCII; None where it is none of pocket math.

    Case, white space, operator glyphs, "what's" and the sign at the end do not matter, and a bare expression or
    equation is asked for.
    """
    if len(question) > LONGEST:
        return None
    asked = _squeezed(question)
    if _SUM.fullmatch(asked):
        asked = f"what is {asked}"
    elif _EQUATION.fullmatch(asked) or _TURNED.fullmatch(asked):
        asked = f"solve {asked}"
    for build, candidates in _READERS:
        for params in candidates(asked):
            content = build(params)
            same = [wording for wording in (*content.phrasings, *content.exact) if _squeezed(wording) == asked]
            if same:
                return next((wording for wording in same if wording == normal(question)), same[0])
    return None


def _squeezed(text: str) -> str:
    """Lower case, ASCII operators, no space beside a sign, no sign at the end."""
    text = normal(text.replace("’", "'")).lower().replace("what's ", "what is ")
    return _AROUND.sub(r"\1", text).rstrip(".?!=: ")


def _integers(asked: str) -> tuple[int, ...]:
    found = _NUMBERS.findall(asked)
    return tuple(int(number) for number in found) if all(len(number) <= 4 for number in found) else ()


def _chain(asked: str) -> Iterator[Params]:
    """Two or three numbers of as many digits, joined by + and -."""
    for text in _SUM.findall(asked):
        parts = _TOKEN.findall(text)
        numbers, signs = parts[0::2], parts[1::2]
        flat = len(parts) in (3, 5) and all(part.isdigit() for part in numbers) and set(signs) <= {"+", "-"}
        if flat and "".join(parts) == text and len({len(number) for number in numbers}) == 1 and len(numbers[0]) <= 2:
            yield tuple(part if part in "+-" else int(part) for part in parts)


def _expression(asked: str) -> Iterator[Params]:
    for text in _SUM.findall(asked):
        node = _parsed(text)
        if node is not None and not isinstance(node, int) and arithmetic.in_world(node):
            yield (node,)


def _parsed(text: str) -> Expression | None:
    """The tree of an expression, * and / before + and -, from left to right; None where it is not one."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text:
        return None
    output: list[Expression] = []
    waiting: list[str] = []

    def reduced(signs: str) -> bool:
        """Apply the operators that wait, as long as they are of these signs; False where one lacks an operand."""
        while waiting and waiting[-1] in signs:
            if len(output) < 2:
                return False
            right, left = output.pop(), output.pop()
            output.append((waiting.pop(), left, right))
        return True

    operand = True  # whether a number or a bracket must come next
    for token in tokens:
        if operand != (token.isdigit() or token == "("):
            return None
        if token.isdigit():
            output.append(int(token))
            operand = False
        elif token == "(":
            waiting.append(token)
        elif token == ")":
            if not reduced("+-*/") or not waiting:
                return None
            waiting.pop()
        else:
            if not reduced("+-*/" if token in "+-" else "*/"):
                return None
            waiting.append(token)
            operand = True
    if operand or not reduced("+-*/") or waiting or len(output) != 1:
        return None
    return output[0]


def _fraction_sum(asked: str) -> Iterator[Params]:
    numbers = _integers(asked)
    if len(numbers) == 4:
        a, b, c, d = numbers
        if 2 <= b <= 10 and 2 <= d <= 10 and 1 <= a < b and 1 <= c < d and lcm(b, d) <= 30:
            yield numbers


def _lowest_terms(asked: str) -> Iterator[Params]:
    numbers = _integers(asked)
    if len(numbers) == 2 and 0 < numbers[0] < numbers[1]:
        value, factor = Fraction(*numbers), gcd(*numbers)
        if value.numerator >= 2 and value.denominator <= 12 and 2 <= factor <= 9:
            yield numbers


def _linear(asked: str) -> Iterator[Params]:
    """Each of a and x of 1 to 12, b of 1 to 30."""
    for times, letter, sign, shift, right in _EQUATION.findall(asked):
        a, b = int(times or 1), int(shift)
        yield from _solved(f"ax{sign}b", letter, a, b, int(right) - b if sign == "+" else int(right) + b)
    for shift, times, letter, right in _TURNED.findall(asked):
        yield from _solved("b-ax", letter, int(times or 1), int(shift), int(shift) - int(right))


def _solved(form: str, letter: str, a: int, b: int, product: int) -> Iterator[Params]:
    if 1 <= a <= 12 and 1 <= b <= 30 and product % a == 0 and 1 <= product // a <= 12:
        yield form, letter, a, b, product // a


def _sequence(asked: str) -> Iterator[Params]:
    numbers = _integers(asked)
    if len(numbers) != 4:
        return
    for index, (first, second) in ((numbers[0], numbers[1:3]), (numbers[3], numbers[:2])):
        if 1 <= first <= 20 and 2 <= second - first <= 9 and 6 <= index <= 13:
            yield first, second - first, index


def _percent(asked: str) -> Iterator[Params]:
    numbers = _integers(asked)
    if len(numbers) == 2 and (unit := divisibility.PERCENTS.get(numbers[0])):
        times, rest = divmod(numbers[1], unit)
        if rest == 0 and 2 <= times <= (400 if unit in (10, 20) else 120) // unit:
            yield numbers


def _remainder(asked: str) -> Iterator[Params]:
    numbers = _integers(asked)
    if len(numbers) == 2 and 2 <= numbers[1] <= 12 and 1 <= numbers[0] // numbers[1] <= 12:
        yield numbers


def _gcd(asked: str) -> Iterator[Params]:
    numbers = _integers(asked)
    if len(numbers) == 2 and all(1 <= number <= 60 for number in numbers):
        yield numbers


def _rate(asked: str) -> Iterator[Params]:
    numbers = _integers(asked)
    if len(numbers) != 3:
        return
    for story, (text, _, _) in enumerate(stories.RATES):
        given = dict(zip(re.findall(r"\{(\w)\}", text), numbers, strict=True))
        total, units, wanted = given["t"], given["m"], given["n"]
        if (
            2 <= units <= 9
            and 2 <= wanted <= 9
            and units != wanted
            and total % units == 0
            and 2 <= total // units <= 20
        ):
            yield story, units, total // units, wanted


def _rectangle(asked: str) -> Iterator[Params]:
    numbers = _integers(asked)
    if len(numbers) != 2:
        return
    first, width = numbers
    for kind, length in ((0, first), (1, first), (2, first // 2 - width), (3, first // 2)):
        if 2 <= length <= 40 and 2 <= width <= 12:
            yield kind, length, width


def _word(asked: str) -> Iterator[Params]:
    words = set(re.findall(r"[a-z]+", asked))
    who = next((i for i, name in enumerate(stories.NAMES) if name.lower() in words), None)
    what = next((i for i, things in enumerate(stories.THINGS) if things in words), 0)
    numbers = _integers(asked)
    if who is None or len(numbers) not in (2, 3):
        return
    a, b, c = (*numbers, 0)[:3]
    for kind, holds in enumerate(
        (
            2 <= a <= 9 and 3 <= b <= 25 and 2 <= c <= min(60, a * b - 1),
            5 <= a <= 80 and 5 <= b <= 60 and 2 <= c <= a + b - 1,
            a >= 1 and b >= 1 and 2 <= c <= 9 and (a + b) % c == 0 and 2 <= (a + b) // c <= 15,
            2 <= a <= 9 and 2 <= b <= 20 and 5 <= c <= 60,
            2 <= a <= 9 and 2 <= b <= 12 and c in (20, 50, 100, 200) and c > a * b,
            3 <= a <= 40 and 2 <= b <= 6 and c == 0,
        )
    ):
        if holds:
            yield kind, who, what, a, b, c


_READERS: tuple[tuple[Callable[[Params], Content], Callable[[str], Iterator[Params]]], ...] = (
    (arithmetic.build_chain, _chain),
    (arithmetic.build_expression, _expression),
    (lowest_terms.build_sum, _fraction_sum),
    (lowest_terms.build_reduce, _lowest_terms),
    (algebra.build_linear, _linear),
    (algebra.build_sequence, _sequence),
    (divisibility.build_percent, _percent),
    (divisibility.build_remainder, _remainder),
    (divisibility.build_gcd, _gcd),
    (stories.build_rate, _rate),
    (stories.build_rectangle, _rectangle),
    (stories.build_word, _word),
)
