"""A whole answer of tests/models/serving.py as the stream of events that vLLM or SGLang sends of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any


@dataclass(slots=True)
class Streaming:
    """How a server streams. on: whether it does. tokens: in an event. pause: seconds before each but the first.
    incremental: SGLang's --incremental-streaming-output, else every event lists the row anew. piece: bytes a write.
    error: what the second event says instead. sent: tokens, of all streams. left: streams that the client left."""

    on: bool = True
    tokens: int = 1
    pause: float = 0.0
    incremental: bool = False
    piece: int = 1 << 20
    error: dict[str, Any] | None = None
    sent: int = 0
    left: int = 0

    def send(self, handler: BaseHTTPRequestHandler, answer: Any, cut: bool = False) -> None:
        """cut: the connection ends in the middle."""
        events = list(self._events(answer))
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            for place, (event, tokens) in enumerate(events):
                if cut and place >= len(events) // 2:
                    handler.close_connection = True
                    return
                if place:
                    time.sleep(self.pause)
                event = {"error": self.error} if self.error and place == 1 else event
                self._write(handler, b": comment\n\ndata: " + json.dumps(event).encode() + b"\n\n")
                self.sent += tokens
            self._write(handler, b"data: [DONE]\n\n")
            handler.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.left += 1
            handler.close_connection = True
            with suppress(OSError):
                handler.connection.close()

    def _write(self, handler: BaseHTTPRequestHandler, data: bytes) -> None:
        for start in range(0, len(data), self.piece):
            part = data[start : start + self.piece]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

    def _events(self, answer: Any) -> Iterator[tuple[Any, int]]:
        """Each event, and how many tokens are new in it."""
        if isinstance(answer, dict):
            for choice in answer["choices"]:
                yield from self._chat(answer, choice) if "message" in choice else self._vllm(answer, choice)
            yield {"model": answer["model"], "choices": [], "usage": {}}, 0
        else:
            for one in answer:
                yield from self._sglang(one)

    def _chat(self, answer: Any, choice: Any) -> Iterator[tuple[Any, int]]:
        """Three characters an event; the first of them has the role alone, and a thought goes before the text."""
        message, last = choice["message"], {name: choice.get(name) for name in ("finish_reason", "stop_reason")}
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        if "reasoning_content" in message:
            deltas.append({"content": None, "reasoning_content": message["reasoning_content"]})
        text = message["content"]
        deltas += [{"content": text[start : start + 3]} for start in range(0, len(text), 3)]
        for delta in deltas:
            yield {**answer, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}, 1
        yield {**answer, "choices": [{"index": 0, "delta": {}, **last}]}, 0

    def _vllm(self, answer: Any, choice: Any) -> Iterator[tuple[Any, int]]:
        size, logs = len(choice["token_ids"]), choice["logprobs"]
        for start in range(0, size, self.tokens):
            some = slice(start, start + self.tokens)
            last = some.stop >= size
            part = {
                **choice,
                "token_ids": choice["token_ids"][some],
                "logprobs": logs and {name: values[some] for name, values in logs.items()},
                "finish_reason": choice["finish_reason"] if last else None,
                "stop_reason": choice.get("stop_reason") if last else None,
            }
            yield {**answer, "choices": [part]}, len(part["token_ids"])

    def _sglang(self, one: Any) -> Iterator[tuple[Any, int]]:
        meta, ids = one["meta_info"], one["output_ids"]
        for start in range(0, len(ids), self.tokens):
            stop = min(start + self.tokens, len(ids))
            some = slice(start if self.incremental else 0, stop)
            part = {
                **meta,
                "output_token_logprobs": meta["output_token_logprobs"][some],
                "output_top_logprobs": meta["output_top_logprobs"][some],
                "completion_tokens": stop,
                "finish_reason": meta["finish_reason"] if stop == len(ids) else None,
            }
            yield {**one, "output_ids": ids[some], "meta_info": part}, stop - start
