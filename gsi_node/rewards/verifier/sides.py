"""The expressions on both sides of a relation sign: how far they reach, and what they are worth.

An expression is taken only where nothing beside it could change its value: next to an unknown symbol, a variable or a
word such as "half" or "remainder" it is not checkable. Units are dropped from it and remembered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gsi_node.rewards.verifier.arithmetic import Exact, Lexeme, evaluate

CONNECTIVES = frozenset(
    "so and or for to is are was which that then as because since but while with by on at we he she they it i you "
    "therefore hence thus from if when where not after before get have has had makes make gives give".split()
)
"""Words between two expressions: never a unit."""
STOP_WORDS = CONNECTIVES | frozenset(
    "a an the in of per left total altogether more each all also now too again".split()
)
"""Words that are no unit of the number before them."""
MATH_WORDS = frozenset(
    "mod modulo sin cos tan cot sec csc log ln lg exp sqrt root gcd lcm hcf max min abs floor ceil choose factorial "
    "squared cubed square cube twice double triple thrice half third quarter fourth fifth tenth plus minus times over "
    "divided multiplied percent remainder rem base hundred thousand million billion trillion dozen power "
    "negative positive".split()
)
"""Words that change the value of the number beside them: next to one, nothing is checked."""
SCALES = frozenset("cent hundred thousand million billion trillion dozen pair ten".split())
"""Units whose presence on one side alone changes the number."""


_NUMERAL = ["open", "number", "close"]  # (1) 3 + 4 = 7


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a relation. values: its readings, none where it is not checkable. plain: whether there are no others.

    atom: a single number. sums: has + or -. percent: ends with %. place: the power of ten of a single number's last
    shown digit.
    """

    values: tuple[Exact, ...] = ()
    plain: bool = True
    units: frozenset[str] = frozenset()
    atom: bool = False
    sums: bool = False
    percent: bool = False
    place: int | None = None


NOTHING = Side()


def _stem(word: str) -> str:
    return word.lower().rstrip("s")


def _without_units(run: list[Lexeme]) -> list[Lexeme]:
    """The tokens without words and what belongs to them: "/" before a word, "^2" after one."""
    kept: list[Lexeme] = []
    after_word = False
    exponent = 0  # tokens of a unit's exponent still to skip
    for index, token in enumerate(run):
        if exponent:
            exponent -= 1
        elif token.kind == "word":
            if kept and kept[-1].text == "/" and not (index > 1 and kept[-1].gap and not after_word):
                kept.pop()
        elif token.text == "^" and after_word:
            exponent = 3 if run[index + 1 : index + 2] and run[index + 1].kind == "open" else 1
            continue
        else:
            kept.append(token)
        after_word = token.kind == "word"
    return kept


def _grouped(run: list[Lexeme]) -> list[Lexeme]:
    """The tokens with 1/2 bracketed where it is written tight after a division sign, as in 3/4 ÷ 1/2."""
    out: list[Lexeme] = []
    for index, token in enumerate(run):
        tight = [part.kind for part in run[index : index + 3]] == ["number", "operator", "number"]
        tight = tight and run[index + 1].text == "/" and not run[index + 1].gap and not run[index + 2].gap
        if tight and out and out[-1].text == "/" and token.gap:
            out.append(Lexeme("open", "("))
            out += [token, run[index + 1], run[index + 2], Lexeme("close", ")")]
            return out + run[index + 3 :]
        out.append(token)
    return out


def _side(run: list[Lexeme], plain: bool, trailing: str | None = None) -> Side:
    """Evaluate a stretch of tokens in which words can only be units."""
    units = {_stem(token.text) for token in run if token.kind == "word"}
    if trailing is not None and trailing.lower() not in STOP_WORDS:
        units.add(_stem(trailing))
    bare: list[Lexeme] = []
    divided = False
    for token in _without_units(run):
        last = bare[-1] if bare else None
        if last is not None and token.kind in ("number", "open") and last.kind in ("number", "close", "percent"):
            plain = plain and not token.gap and not divided  # 6/2(1+2) has two readings
            bare.append(Lexeme("operator", "implicit"))
        divided = divided or token.text == "/"
        bare.append(token)
    readings = [evaluate(bare)]
    if any(token.product is not None for token in bare):
        readings.append(evaluate(bare, products=True))
    if divided and len(grouped := _grouped(bare)) > len(bare):
        readings.append(evaluate(grouped))
    numbers = [token for token in bare if token.kind == "number"]
    signs = {token.text for token in bare[1:] if token.kind == "operator"}
    return Side(
        values=tuple(value for value in readings if value is not None),
        plain=plain,
        units=frozenset(units),
        atom=len(numbers) == 1,
        sums=not signs.isdisjoint("+-"),
        percent=bool(bare) and bare[-1].kind == "percent",
        place=_place(bare, numbers),
    )


def _place(bare: list[Lexeme], numbers: list[Lexeme]) -> int | None:
    if len(numbers) != 1 or numbers[0].place is None:
        return None
    return numbers[0].place - 2 * sum(token.kind == "percent" for token in bare)


def _is_unit(token: Lexeme) -> bool:
    """Whether a word can be a unit: a single letter is a variable, a connective ends the expression."""
    return len(token.text) > 1 and token.text.lower() not in CONNECTIVES


def _unit_start(tokens: list[Lexeme], word: int, start: int) -> int | None:
    """Where the unit that ends at `word` begins ("miles", "miles / hour", "square feet"); None for prose."""
    index = word
    while index > start and word - index < 4 and (tokens[index].kind != "word" or _is_unit(tokens[index])):
        before = tokens[index - 1]
        if before.kind in ("number", "close", "percent"):
            return index
        slash = before.text == "/" and index - 1 > start and tokens[index - 2].kind == "word"
        if before.kind != "word" and not slash:
            return None
        index -= 1
    return None


def left_side(tokens: list[Lexeme], start: int, end: int) -> Side:
    """The expression that ends at `end`, as far back as it reaches."""
    while end > start and tokens[end - 1].kind == "line":
        end -= 1  # a line that begins with the sign continues the one before
    index, depth = end, 0
    while index > start:
        token = tokens[index - 1]
        after = tokens[index] if index < end else None
        if depth == 0 and after is not None and after.kind == "number" and token.kind in ("number", "close", "percent"):
            break
        if token.kind == "open":
            if depth == 0:
                break
            depth -= 1
        elif token.kind == "close":
            depth += 1
        elif token.kind == "word":
            ends = after is None or after.kind in ("operator", "close")
            first = _unit_start(tokens, index - 1, start) if ends else None
            if first is None:
                break
            index = first + 1
        elif token.kind not in ("number", "operator", "percent"):
            break
        index -= 1
    run = tokens[index:end]
    if depth or not run:
        return NOTHING
    return _placed(run, tokens[index - 1] if index > start else None, tokens[start:index])


def _placed(run: list[Lexeme], before: Lexeme | None, left: list[Lexeme]) -> Side:
    """The value of `run`, given what stands before it."""
    first = run[0]
    signed = first.kind == "operator"
    atom = sum(token.kind == "number" for token in run) == 1
    if before is None or before.kind in ("line", "stop", "open"):
        bullet = signed and first.gap and len(run) > 1 and run[1].gap and (before is None or before.kind == "line")
        if bullet and first.text in "*+":
            return _side(run[1:], True)
        if bullet and first.text == "-":
            one, other = _side(run, True), _side(run[1:], True)
            return replace(one, values=one.values + other.values)
        if before is not None and before.text == "." and atom and left[-2:-1] and left[-2].kind == "number":
            return NOTHING
        return _side(run, True)
    if before.kind == "word":
        word = before.text.lower()
        share = word == "of" and len(left) > 1 and (left[-2].text.lower() in MATH_WORDS or left[-2].kind != "word")
        tight = not first.gap or (len(word) == 1 and word not in ("a", "i"))
        if tight or atom or share or word in MATH_WORDS:
            return NOTHING
        if signed:  # "is -3 + 5" has a sign, "apples - 3 + 5" goes on from something unknown
            if len(run) == 1:
                return NOTHING
            return _side(run, word in CONNECTIVES) if first.text == "-" and not run[1].gap else NOTHING
        return _side(run, True)
    if before.kind in ("number", "close", "percent"):
        numeral = [token.kind for token in left[-4:]] in (_NUMERAL, ["stop", *_NUMERAL], ["line", *_NUMERAL])
        opened = sum({"open": 1, "close": -1}.get(token.kind, 0) for token in left)
        return _side(run, (numeral or opened < 0) and first.gap and not atom)
    return NOTHING


def right_side(tokens: list[Lexeme], start: int, end: int) -> Side:
    """The expression that begins at `start`, as far as it reaches."""
    index, depth = start, 0
    while index < end:
        token = tokens[index]
        before = tokens[index - 1] if index > start else None
        joined = before is not None and before.kind in ("number", "close", "percent", "word")
        if token.kind == "open":
            if depth == 0 and joined and token.gap:
                break
            depth += 1
        elif token.kind == "close":
            if depth == 0:
                break
            depth -= 1
        elif token.kind == "number":
            if depth == 0 and joined:
                break
        elif token.kind == "word":
            last = index
            while last + 1 < end and last - index < 4 and tokens[last + 1].kind == "word":
                last += 1
            goes_on = last + 1 < end and tokens[last + 1].kind == ("close" if depth else "operator")
            within = depth and last + 1 < end and tokens[last + 1].kind == "operator"
            if not joined or not (goes_on or within) or not all(map(_is_unit, tokens[index : last + 1])):
                break
            index = last
        elif token.kind not in ("operator", "percent"):
            break
        index += 1
    run = tokens[start:index]
    return _followed(run, tokens[index : index + 3] if index < end else []) if run and not depth else NOTHING


def _followed(run: list[Lexeme], after: list[Lexeme]) -> Side:
    """The value of `run`, given what stands after it."""
    if run[-1].kind == "operator":  # "= 15 - so": a dash, if it is not a difference
        dash = run[-1].text == "-" and run[-1].gap and after and after[0].kind in ("word", "line") and after[0].gap
        return _side(run[:-1], False) if dash and len(after[0].text) > 1 and len(run) > 1 else NOTHING
    if not after:
        return _side(run, True)
    follower = after[0]
    if follower.kind == "unknown":
        return NOTHING
    if follower.kind == "word":
        word = follower.text.lower()
        if len(word) == 1:
            return _side(run, False) if word in ("a", "i") and follower.gap else NOTHING
        if word in MATH_WORDS or any(token.text.lower() in ("remainder", "rem") for token in after):
            return NOTHING
        ambiguous = word in ("with", "and", "to", "or") and after[1:] and after[1].kind == "number"
        return _side(run, not ambiguous, follower.text)
    if follower.kind == "open":
        return _side(run, len(after) > 1 and after[1].kind in ("word", "stop"))
    return _side(run, follower.kind != "number" and follower.text != "!")
