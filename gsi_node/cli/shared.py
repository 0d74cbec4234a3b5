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
HELP = {
    "draft": f"pocket:draft (default), {ELSEWHERE}; {SEVERAL}",
    "base": f"pocket:base (default), {ELSEWHERE}",
    "reward": f"pocket (default), {JUDGES}",
}


def add_models(parser: argparse._ActionsContainer) -> None:
    """--draft, --base and --reward."""
    parser.add_argument("--draft", action=Joined, default=SPECS["draft"], metavar="SPEC", help=HELP["draft"])
    for role in ("base", "reward"):
        parser.add_argument(f"--{role}", default=SPECS[role], metavar="SPEC", help=HELP[role])


def add_set(parser: argparse._ActionsContainer) -> None:
    """--set FIELD=VALUE."""
    parser.add_argument(
        "--set", type=set_field, action="append", default=[], metavar="FIELD=VALUE", help="any field of GSIConfig"
    )
