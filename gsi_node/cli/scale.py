"""How many committed tokens a second servers of draft, base and reward make
together, and where calls heap up: a simulation from measured seconds
(docs/scale.md).

  gsi bench --models DRAFT,BASE,REWARD --company 4 --json sizes.json
  gsi scale sizes.json --acceptance 0.5,0.82,0.95 --callers 1,16
  gsi scale sizes.json --callers 64 --want 2000
"""

from __future__ import annotations

import argparse
from itertools import product

from gsi_node.errors import ConfigError
from gsi_node.host.options import above_zero, named_path, positive, positives, shares
from gsi_node.host.shell import DONE


def three_counts(text: str) -> tuple[int, ...]:
    """The type of an option that counts draft, base and reward: 1,2,1."""
    found = positives(text)
    if len(found) != 3:
        raise argparse.ArgumentTypeError(f"want DRAFT,BASE,REWARD such as 1,2,1, got {text[:40]!r}")
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command is told."""
    parser.add_argument("sizes", type=named_path, metavar="FILE", help="of gsi bench --models … --json FILE")
    parser.add_argument("--acceptance", type=shares, metavar="SHARES", help="of accepted steps (default: the file's)")
    parser.add_argument("--callers", type=positives, default=(1, 16), help="runs at a time (default 1,16)")
    parser.add_argument(
        "--servers",
        type=three_counts,
        action="append",
        metavar="D,B,R",
        help="of draft, base and reward (default 1,1,1); may be given several times",
    )
    parser.add_argument("--devices", type=positive, help="that all servers share (default: one each)")
    parser.add_argument(
        "--variation", type=above_zero, metavar="CV", help="of a call's seconds, deviation over mean (default: none)"
    )
    parser.add_argument("--want", type=above_zero, metavar="TOKENS", help="a second: find the servers that make them")


def main(options: argparse.Namespace) -> int:
    """Simulate, and show it; the exit code."""
    from gsi_node.host.screen import screen
    from gsi_node.tools.bench_sizes import read_sizes
    from gsi_node.tools.queueing import KINDS, Fleet
    from gsi_node.tools.scale import company_of, scale_table

    if options.want is not None and options.servers is not None:
        raise ConfigError("--want finds the servers: leave --servers out")
    cells = read_sizes(options.sizes).cells
    if not cells:
        raise ConfigError(f"{options.sizes}: no size is finished in it; let `gsi bench` come to an end")
    acceptance = options.acceptance or tuple(dict.fromkeys(share for cell in cells for share in cell.acceptance))
    fleets = [
        Fleet(
            seconds=cells[0].seconds,
            company=company_of(cells[0]),
            acceptance=share,
            callers=callers,
            servers=dict(zip(KINDS, servers, strict=True)),
            devices=options.devices,
            variation=options.variation or 0.0,
        )
        for share, callers, servers in product(acceptance, options.callers, options.servers or [(1, 1, 1)])
    ]
    screen().show(scale_table(cells, fleets, options.want))
    return DONE
