"""Options that several commands have."""

from __future__ import annotations

import argparse

from gsi_node.host.options import set_field


def add_models(parser: argparse._ActionsContainer) -> None:
    """--draft, --base and --reward."""
    parser.add_argument(
        "--draft", default="pocket:draft", metavar="SPEC", help="pocket:draft (default) or hf:NAME_OR_PATH"
    )
    parser.add_argument(
        "--base", default="pocket:base", metavar="SPEC", help="pocket:base (default) or hf:NAME_OR_PATH"
    )
    parser.add_argument(
        "--reward", default="pocket", metavar="SPEC", help="pocket (default), verifier or prm:NAME_OR_PATH"
    )


def add_set(parser: argparse._ActionsContainer) -> None:
    """--set FIELD=VALUE."""
    parser.add_argument(
        "--set", type=set_field, action="append", default=[], metavar="FIELD=VALUE", help="any field of GSIConfig"
    )
