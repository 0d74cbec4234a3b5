r"""Expressions as trees: the LaTeX and plain notation of answers, read in time linear in their length.

    parse(r"\frac{n(n+1)}{2}")   → a product of a number, n and a sum

Every letter is a symbol of its own and keeps its case; i is the imaginary unit, e Euler's number, \log the logarithm to
base 10. Letters side by side are a product, and so is a letter before a bracket, but before a lone letter or number,
x(t), it is a function's value: a symbol. "3 1/2" and "3\frac12" are mixed numbers; two numbers side by side are none.
A degree sign is π/180 inside a trigonometric function and no factor elsewhere.
"""

from __future__ import annotations

from fractions import Fraction

from evals.graders.grammar import Grammar
from evals.graders.scanner import ACCENTS, FUNCTIONS, SYMBOLS, TEXTS, TRIGONOMETRIC, Token, spelled, tokens
from evals.graders.trees import Node, Unreadable, number, symbol


def parse(text: str) -> Node:
    """The tree of one expression, without relations. Raises Unreadable."""
    parser = _Parser(tokens(text))
    if not parser.tokens:
        raise Unreadable("the answer is empty")
    tree = parser.sum()
    parser.end()
    return tree


class _Parser(Grammar):
    """Names, commands and functions."""

    def command(self, name: str) -> Node:
        if name == "pi" and self.peek().text != "_":
            return Node("pi")
        if name == "frac":
            return self.fraction()
        if name == "binom":
            return Node("binomial", (self.argument(), self.argument()))
        if name == "sqrt":
            degree = self.group("[", "]") if self.peek().text == "[" else number(2)
            return Node("^", (self.argument(), Node("^", (degree, number(-1)))))
        if name in ("lfloor", "lceil"):
            inside = self.sum()
            self.need(r"\rfloor" if name == "lfloor" else r"\rceil")
            return Node("floor" if name == "lfloor" else "ceil", (inside,))
        if name in ("lvert", "vert"):
            inside = self.sum()
            self.need(r"\rvert" if name == "lvert" else r"\vert")
            return Node("abs", (inside,))
        if name in ("sum", "prod"):
            return self.series(name)
        if name == "imath":
            return Node("i")
        if name in TEXTS or name in ACCENTS:
            return self.named(name)
        if name in FUNCTIONS:
            return self.function(name)
        if name in SYMBOLS or name == "pi":
            return self.symbol("\\" + name)
        raise Unreadable(f"'\\{name}' cannot be read as mathematics")

    def fraction(self) -> Node:
        start = self.at
        derivative = self.derivative()
        if derivative is not None:
            return derivative
        self.at = start
        top, low = self.argument(), self.argument()
        if top.op == low.op == "number" and low.value and not (top.decimal or low.decimal):
            return number(top.value / low.value)
        return Node("*", (top, Node("^", (low, number(-1)))))

    def derivative(self) -> Node | None:
        r"""\frac{d x}{d t} and \frac{d^{2} v}{d t^{2}}: one symbol each."""
        parts = [
            [piece for piece in self.raw() if piece.text not in "{}" and piece.text[1:] not in TEXTS] for _ in "ab"
        ]
        signs = ("d", r"\partial")
        found = (
            all(part and part[0].text in signs for part in parts) and len(parts[1]) > 1 and parts[1][1].kind != "other"
        )
        return symbol("/".join(spelled(part) for part in parts)) if found else None

    def raw(self) -> list[Token]:
        """The pieces of one braced argument."""
        if not self.take("{"):
            return []
        start, depth = self.at, 1
        while depth and self.peek().kind != "end":
            depth += (self.peek().text == "{") - (self.peek().text == "}")
            self.at += 1
        if depth:
            raise Unreadable("a brace is not closed")
        return self.tokens[start : self.at - 1]

    def written(self) -> str:
        """The spelling of one argument: a group in braces, or the next piece."""
        while self.peek().text[1:] in TEXTS:
            self.at += 1
        if self.peek().text == "{":
            return spelled(self.raw())
        piece = self.peek()
        if piece.kind == "end":
            raise Unreadable("something is missing at the end")
        self.at += 1
        return piece.text

    def argument(self) -> Node:
        """What a command applies to: a group in braces or brackets, one digit, one letter, one command."""
        piece = self.peek()
        if piece.text == "{":
            return self.group("{", "}")
        if piece.text == "(":
            return self.group("(", ")")
        if (
            piece.kind == "number"
            and len(piece.text) > 1
            and piece.text.isdigit()
            and self.tokens[self.at - 1].text != r"\sqrt"
        ):
            self.tokens = [
                *self.tokens[: self.at],
                Token("number", piece.text[0], piece.gap),
                Token("number", piece.text[1:], False),
                *self.tokens[self.at + 1 :],
            ]
        return self.atom()

    def named(self, command: str) -> Node:
        r"""\text{red}, \dot{x}: a symbol; \operatorname{sin} a function; \mathrm{e} the letter."""
        said = self.written()
        if command in ACCENTS:
            return self.symbol(rf"\{command}{{{said}}}".replace("overline", "bar").replace("wide", ""))
        if said.removeprefix("\\") in FUNCTIONS:
            return self.function(said.removeprefix("\\"))
        if not said:
            raise Unreadable("a text is empty")
        return self.symbol(said)

    def symbol(self, name: str) -> Node:
        """A symbol with its index, primes and the argument of a function: x_{0}, x', x(t)."""
        if self.take("_"):
            name += f"_{self.written()}"
        while self.take("'"):
            name += "'"
        while self.peek().text == "^" and (
            self.peek(1).text == r"\prime" or (self.peek(1).text == "{" and self.peek(2).text == r"\prime")
        ):
            self.at += 1
            name += "'" * self.written().count("prime")
        if name in ("e", "i"):
            return Node(name)
        if self.peek().text == "(":
            lone = self.peek(2).text == ")" and (
                self.peek(1).kind in ("letter", "number") or self.peek(1).text[1:] in SYMBOLS
            )
            if lone:
                start = self.at
                self.group("(", ")")
                name += spelled(self.tokens[start : self.at])
        return symbol(name)

    def function(self, name: str) -> Node:
        base: Node | None = None
        power: Node | None = None
        if name == "log" and self.take("_"):
            base = self.atom() if self.peek().kind == "number" else self.argument()
        if self.take("^"):
            power = self.exponent()
        self.trigonometric += name in TRIGONOMETRIC
        args = self.several() if name in ("gcd", "lcm", "max", "min") else (self.operand(),)
        self.trigonometric -= name in TRIGONOMETRIC
        if power is not None and power == Node("*", (number(-1), number(1))) and name in TRIGONOMETRIC:
            return Node("arc" + name, args)
        made = {
            "log": Node("log", (*args, base or number(10))),
            "lg": Node("log", (*args, number(10))),
            "sqrt": Node("^", (args[0], number(Fraction(1, 2)))),
            "exp": Node("^", (Node("e"), args[0])),
        }.get(
            name,
            Node(name.replace("arsinh", "arcsinh").replace("arcosh", "arccosh").replace("artanh", "arctanh"), args),
        )
        return made if power is None else Node("^", (made, power))

    def several(self) -> tuple[Node, ...]:
        closing = {"(": ")", "{": "}", "[": "]"}.get(self.peek().text)
        if closing is None:
            raise Unreadable("a bracket is missing")
        self.at += 1
        args = [self.sum()]
        while self.take(","):
            args.append(self.sum())
        self.need(closing)
        return tuple(args)

    def operand(self) -> Node:
        """What a function applies to: a bracket, or the factors up to a sign, slash, bracket or another function."""
        if self.peek().text in ("(", "[", "{"):
            opening = self.peek().text
            return self.group(opening, {"(": ")", "[": "]", "{": "}"}[opening])
        negative = self.take("-")
        parts = [self.power()]
        while self.begins(self.peek()) and self.peek().text not in ("(", "[") and self.peek().text[1:] not in FUNCTIONS:
            if self.side_by_side(self.peek()):
                break
            parts.append(self.power())
        made = parts[0] if len(parts) == 1 else Node("*", tuple(parts))
        return Node("*", (number(-1), made)) if negative else made

    def series(self, name: str) -> Node:
        r"""\sum_{k=1}^{n} k^2"""
        self.need("_")
        self.need("{")
        index = self.atom()
        self.need("=")
        low = self.sum()
        self.need("}")
        self.need("^")
        high = self.exponent()
        if index.op not in ("symbol", "i"):
            raise Unreadable(f"the index of a {name} is no letter")
        body = self.product()
        return Node(name, (low, high, body), name=index.name or "i")
