"""A small server in the shapes of vLLM's pooling and embeddings endpoints, with faults on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import exp
from typing import Any

MODEL = "prm"


def logit(ids: list[int]) -> float:
    """The server's opinion of a sequence of ids, between −2 and 2."""
    return sum((i + 1) * token for i, token in enumerate(ids)) % 4001 / 1000 - 2


def probability(ids: list[int]) -> float:
    """Its sigmoid."""
    return 1 / (1 + exp(-logit(ids)))


class PoolingServer:
    """pooler: ALL, STEP (at `step_id`) or LAST. outputs: 2 labels or 1. faults: of the next requests, "" for none."""

    def __init__(self, *, pooler: str = "ALL", outputs: int = 2, step_id: int = -1, activated: bool = True) -> None:
        self.pooler, self.outputs, self.step_id, self.activated = pooler, outputs, step_id, activated
        self.faults: list[str] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.edit: Callable[[Any], Any] = lambda answer: answer
        outer = self

        class Handler(_Handler):
            owner = outer

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> PoolingServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def pooled(self, ids: list[int], activated: bool) -> Any:
        """What the model says of one input."""
        ends = [i + 1 for i, token in enumerate(ids) if self.pooler == "ALL" or token == self.step_id]
        rows = [self._outputs(ids[:end], activated) for end in (ends if self.pooler != "LAST" else [len(ids)])]
        return rows[0] if self.pooler == "LAST" else rows

    def _outputs(self, ids: list[int], activated: bool) -> list[float]:
        if activated:
            good = probability(ids)
            return [1 - good, good] if self.outputs == 2 else [good]
        return [0.5, 0.5 + logit(ids)] if self.outputs == 2 else [logit(ids)]


class _Handler(BaseHTTPRequestHandler):
    owner: PoolingServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_POST(self) -> None:
        owner = self.owner
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        owner.requests.append((self.path, body))
        fault = owner.faults.pop(0) if owner.faults else ""
        if fault in ("429", "500", "503", "400", "404"):
            return self._send(int(fault), {"error": {"message": f"scripted {fault}"}})
        if fault == "reset":
            self.close_connection = True
            self.connection.close()
            return None
        if body["model"] != MODEL:
            return self._send(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        if self.path == "/v1/embeddings":
            raw = [[row[0] for row in owner.pooled(ids, False)] for ids in body["input"]]
            entries = [{"index": i, "object": "embedding", "embedding": one} for i, one in enumerate(raw)]
        else:
            activated = bool(body["use_activation"]) and owner.activated
            entries = [
                {"index": i, "object": "pooling", "data": owner.pooled(ids, activated)}
                for i, ids in enumerate(body["input"])
            ]
        entries.reverse()  # the order of the answers is the server's own
        _spoil(entries, fault)
        answer = owner.edit({"object": "list", "model": MODEL, "data": entries})
        return self._send(200, answer, cut=fault == "truncate")

    def _send(self, status: int, answer: Any, cut: bool = False) -> None:
        data = json.dumps(answer).encode()
        data = data[: len(data) // 2] if cut else data
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _spoil(entries: list[dict[str, Any]], fault: str) -> None:
    if fault == "few":
        entries.pop()
    if fault in ("nan", "null", "wide", "short"):
        rows = entries[0]["data"]
        if fault == "short":
            rows.pop()
        else:
            rows[-1] = {"nan": [float("nan")] * 2, "null": [None, None], "wide": [0.2, 0.3, 0.5]}[fault]
