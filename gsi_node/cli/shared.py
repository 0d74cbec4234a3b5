"""Options that several commands have."""

from __future__ import annotations

import argparse

from gsi_node.host.options import Joined, set_field

ELSEWHERE = (  # written out: the table of kinds imports numpy, and --help answers at once
    "hf:NAME_OR_PATH, server:http://HOST:8000/v1#MODEL?tokenizer=NAME_OR_PATH (vLLM), "
    "sglang:http://HOST:30000?tokenizer=NAME_OR_PATH, remote:http://HOST:8100 (gsi serve), "
    "chat:http://HOST:8000/v1#MODEL (any chat API; methods without a ratio: rsd-n, sbon-draft …)"
)
JUDGES = (
    "verifier, prm:NAME_OR_PATH, server:http://HOST:8000/v1#MODEL@FAMILY?tokenizer=NAME_OR_PATH, "
    "remote:http://HOST:8100, judge:http://HOST:8000/v1#MODEL, "
    "generative:SPEC@FORMAT (a model that writes before it judges); "
    "around others: ensemble:A|B, calibrated:A, cached:A, noisy:A"
)
SEVERAL = "given again: several drafts, by counts SPEC*3 and SPEC*1 (methods with a ratio)"
SPECS = {"draft": "pocket:draft", "base": "pocket:base", "reward": "pocket"}


def add_models(parser: argparse._ActionsContainer) -> None:
    """--draft, --base and --reward."""
    parser.add_argument(
        "--draft",
        action=Joined,
        default=SPECS["draft"],
        metavar="SPEC",
        help=f"pocket:draft (default), {ELSEWHERE}; {SEVERAL}",
    )
    parser.add_argument("--base", default=SPECS["base"], metavar="SPEC", help="pocket:base (default), " + ELSEWHERE)
    parser.add_argument("--reward", default=SPECS["reward"], metavar="SPEC", help="pocket (default), " + JUDGES)


def add_set(parser: argparse._ActionsContainer) -> None:
    """--set FIELD=VALUE."""
    parser.add_argument(
        "--set", type=set_field, action="append", default=[], metavar="FIELD=VALUE", help="any field of GSIConfig"
    )
