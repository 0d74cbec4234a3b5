"""What a checkpoint file may hold: plain data and the few types of our states. LangGraph's own reader imports and calls
whatever an entry names, or, told to be strict, drops it without a word; this one refuses the file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ormsgpack
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde import jsonplus
from langgraph.types import Overwrite, Send

from gsi_node.errors import ConfigError, UnsafeCheckpoint

PLAIN = ("null", "bytes", "bytearray", "msgpack")  # kinds of entries; "json" and "pickle" build objects
CALLS = {
    jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG,
    jsonplus.EXT_CONSTRUCTOR_POS_ARGS,
    jsonplus.EXT_CONSTRUCTOR_KW_ARGS,
    jsonplus.EXT_METHOD_SINGLE_ARG,
    jsonplus.EXT_PYDANTIC_V1,
    jsonplus.EXT_PYDANTIC_V2,
}
"""Extension types whose content begins with the module and name of a class."""
OURS: tuple[type, ...] = (AIMessage, HumanMessage, Overwrite, Send)
"""All that the states of the node, the solver and neural JKO hold beside plain data."""


class StrictSerializer(jsonplus.JsonPlusSerializer):
    """LangGraph's serializer for a saver, as in `SqliteSaver(connection, serde=StrictSerializer())`. It builds nothing
    but the classes of our states and those of `also`, the further ones that a parent's state holds.

    loads_typed raises UnsafeCheckpoint for an entry that asks for anything else, ConfigError for one that is broken.
    """

    def __init__(self, also: Iterable[type] = ()) -> None:
        also = tuple(also)
        super().__init__(allowed_msgpack_modules=(*OURS, *also))
        self._known = {(kind.__module__, kind.__name__) for kind in (*OURS, *also)}

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, blob = data
        if kind not in PLAIN:
            raise UnsafeCheckpoint(f"a checkpoint holds an entry of kind {kind!r:.40}, which can run code; {_REMEDY}")
        try:
            if kind == "msgpack":
                self._inspect(blob)
            return super().loads_typed(data)
        except (ValueError, TypeError, RecursionError) as error:
            if isinstance(error, UnsafeCheckpoint):
                raise
            raise ConfigError(f"a checkpoint is broken: an entry cannot be decoded ({error}); {_REMEDY}") from error

    def _inspect(self, blob: bytes) -> None:
        """Decode without building anything. Raises UnsafeCheckpoint."""
        refused: list[str] = []  # ormsgpack replaces what its hook raises

        def look(code: int, content: bytes) -> None:
            inner = ormsgpack.unpackb(content, ext_hook=look, option=ormsgpack.OPT_NON_STR_KEYS)
            if code == jsonplus.EXT_DELTA_SNAPSHOT:
                return
            named = inner[:2] if isinstance(inner, list) else []
            if code not in CALLS or tuple(map(str, named)) not in self._known:
                refused.append(".".join(map(str, named)) if code in CALLS else f"extension type {code}")

        ormsgpack.unpackb(blob, ext_hook=look, option=ormsgpack.OPT_NON_STR_KEYS)
        if refused:
            raise UnsafeCheckpoint(
                f"a checkpoint asks for {refused[0][:80]!r}, which no state here holds and could run code; {_REMEDY}"
            )


_REMEDY = "do not open it elsewhere unless you trust who wrote it; name another file"
