"""The picture of the node's graph in docs/architecture.md: every edge of what is compiled. `make readme` draws it anew.
Where a node stands and how a bent edge runs is decided here; an edge without a path of its own is straight.
"""

from __future__ import annotations

from pathlib import Path

from langchain_core.runnables.graph import Edge, Graph

from gsi_node import GSIConfig, create_gsi
from gsi_node.tables.models import TokenTable
from gsi_node.tables.rewards import TableReward

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "figures" / "node.svg"
PLACES = {
    "__start__": (260, 25),
    "begin": (260, 80),
    "draft": (260, 180),
    "reward": (165, 280),
    "score_base": (345, 280),
    "by_hand": (65, 380),
    "tilt_and_accept": (260, 380),
    "fallback": (450, 380),
    "finish": (260, 490),
    "__end__": (260, 545),
}
PATHS = {
    ("begin", "by_hand"): "M229 80C100 80 45 150 45 365",
    ("begin", "finish"): "M291 80C620 80 620 496 295 496",
    ("by_hand", "draft"): "M80 365C80 250 130 180 229 180",
    ("by_hand", "finish"): "M65 395C65 470 130 490 225 490",
    ("by_hand", "by_hand"): "M48 395C48 445 -20 430 26 384",
    ("draft", "fallback"): "M291 180C400 180 450 240 450 365",
    ("fallback", "draft"): "M470 365C470 210 400 165 291 172",
    ("fallback", "by_hand"): "M440 395C400 450 150 450 88 395",
    ("fallback", "finish"): "M458 395C458 455 380 484 295 484",
    ("reward", "tilt_and_accept"): "M160 295C165 330 185 350 205 365",
    ("tilt_and_accept", "reward"): "M225 365C205 350 185 325 182 295",
    ("score_base", "tilt_and_accept"): "M355 295C355 330 335 350 315 365",
    ("tilt_and_accept", "score_base"): "M292 365C315 350 333 325 336 295",
}
HALF_HEIGHT = 15
BEGIN = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 570" width="560" role="img">
<title>The node's graph: a dashed edge is one of several that may lead on</title>
<style>
text { font: 14px monospace; text-anchor: middle; fill: #1b1f24; }
.node { fill: #eef4f9; stroke: #0068a3; }
path { fill: none; stroke: #5c6670; stroke-width: 1.4; marker-end: url(#arrow); }
.may { stroke-dasharray: 5 3; }
</style>
<marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" \
orient="auto"><polygon points="0,0 8,4 0,8" fill="#5c6670"/></marker>
<rect width="560" height="570" rx="6" fill="#fff"/>
"""


def node(method: str = "expgsi", *, allow_degraded: bool = True) -> Graph:
    """The node's graph as LangGraph sees what is compiled."""
    model, reward = TokenTable(["a\n\n"], lambda prefix, ids: [1.0]), TableReward({"a\n\n": 1.0})
    config = GSIConfig(method=method, allow_degraded=allow_degraded)
    return create_gsi(draft=model, base=model, reward=reward, config=config).compile().get_graph()


def drawn(graph: Graph) -> str:
    """The picture. KeyError for a node that has no place."""
    edges = sorted(graph.edges, key=lambda edge: (edge.source, edge.target))
    return "".join([BEGIN, *map(_arrow, edges), *map(_box, graph.nodes), "</svg>\n"])


def _half_width(name: str) -> float:
    return 4.2 * len(name) + 10


def _box(name: str) -> str:
    (x, y), half = PLACES[name], _half_width(name)
    box = f'x="{x - half:g}" y="{y - HALF_HEIGHT}" width="{2 * half:g}" height="{2 * HALF_HEIGHT}" rx="5"'
    return f'<rect class="node" {box}/><text x="{x}" y="{y + 5}">{name}</text>\n'


def _arrow(edge: Edge) -> str:
    kind = ' class="may"' if edge.conditional else ""
    path = PATHS.get((edge.source, edge.target)) or _straight(edge.source, edge.target)
    return f'<path d="{path}"{kind}><title>{edge.source} → {edge.target}</title></path>\n'


def _straight(source: str, target: str) -> str:
    """From the border of one box to that of the other, on the line between their centres."""
    (x0, y0), (x1, y1) = PLACES[source], PLACES[target]
    across, down = x1 - x0, y1 - y0
    ends = []
    for name, (x, y), way in ((source, (x0, y0), 1), (target, (x1, y1), -1)):
        sides = [size / abs(move) for size, move in ((_half_width(name), across), (HALF_HEIGHT, down)) if move]
        ends.append(f"{x + way * min(sides) * across:g} {y + way * min(sides) * down:g}")
    return f"M{ends[0]}L{ends[1]}"
