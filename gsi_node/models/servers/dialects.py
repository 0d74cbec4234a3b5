"""The kinds of servers: one file and one row each."""

from __future__ import annotations

from gsi_node.models.servers.dialect import Dialect
from gsi_node.models.servers.sglang import SGLang
from gsi_node.models.servers.vllm import VLLM

DIALECTS: dict[str, Dialect] = {dialect.kind: dialect for dialect in (VLLM(), SGLang())}
"""By the kind that a spec begins with."""
