"""A model server that misbehaves on demand: vLLM's and SGLang's shapes over a bigram model in float64, no torch.

A fault is a function of the request: `Faults` plans them by request number, or at random from the request's own bytes,
so that a run meets the same faults whatever the order of its requests.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.models.chatting import Chatting
from tests.models.generating import Generating
from tests.models.hostile import HOSTILE, spoil, spoil_ids
from tests.models.quiet import QuietServer
from tests.models.streaming import Streaming

MODEL = "bigram"
KINDS = ("refuse", "reset", "delay", "429", "500", "truncate", "nan", "missing", "few")


class Bigram:
    """log p(next | last) = log-softmax of a random row; step ends and EOS are likely. The oracle of these tests."""

    def __init__(self, size: int, ends: Iterable[int], seed: int = 0, spread: float = 2.0) -> None:
        logits = np.random.default_rng(seed).normal(0.0, spread, (size, size))
        logits[:, list(ends)] += 2.0
        logits[:, :6] -= 4.0  # control tokens, EOS among them
        self.log_p = self.law(logits, 1.0)
        self.order = np.argsort(-self.log_p, axis=-1, kind="stable")
        self._cumulative: dict[float, NDArray[np.float64]] = {}

    @staticmethod
    def law(logits: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
        scaled = logits / temperature
        top = scaled.max(-1, keepdims=True)
        return np.asarray(scaled - top - np.log(np.exp(scaled - top).sum(-1, keepdims=True)))

    def exact(self, ids: tuple[int, ...], row: tuple[int, ...], temperature: float) -> float:
        """log π_T(row | ids), in nats."""
        law = self.law(self.log_p, temperature)
        return float(sum(law[a, b] for a, b in zip((ids[-1], *row), row, strict=False)))

    def listed(self, last: int, token: int, k: int) -> dict[int, float]:
        ids = [*self.order[last, :k].tolist(), token]
        return dict(zip(ids, self.log_p[last, ids].tolist(), strict=True))

    def draw(self, last: int, seed: int, temperature: float, limit: int, stops: set[int]) -> tuple[list[int], bool]:
        uniforms = np.random.Generator(np.random.Philox(seed)).random(limit)
        law = self._cumulative.get(temperature)
        if law is None:
            law = self._cumulative[temperature] = np.exp(self.law(self.log_p, temperature)).cumsum(-1)
        ids: list[int] = []
        for u in uniforms:
            last = int(np.searchsorted(law[last], u * law[last, -1], side="right"))
            ids.append(last)
            if last in stops:
                return ids, True
        return ids, False


class Faults:
    """rate: the share of attempts that fail, each with one of `kinds`. plan: the fault of the next requests, in order
    ("" for none); it goes first. delay: seconds of a delayed answer."""

    def __init__(self, rate: float = 0.0, kinds: tuple[str, ...] = KINDS, plan: Iterable[str] = (), delay: float = 1.0):
        self.rate, self.kinds, self.plan, self.delay = rate, kinds, list(plan), delay
        self.seen: Counter[bytes] = Counter()
        self.happened: Counter[str] = Counter()
        self.lock = threading.Lock()

    def of(self, body: bytes) -> str:
        with self.lock:
            self.seen[body] += 1
            fault = self.plan.pop(0) if self.plan else self._drawn(body, self.seen[body])
            self.happened[fault] += 1
            return fault

    def _drawn(self, body: bytes, attempt: int) -> str:
        digest = blake2b(body + str(attempt).encode(), digest_size=8).digest()
        u = int.from_bytes(digest[:4], "little") / 2**32
        return self.kinds[digest[4] % len(self.kinds)] if u < self.rate else ""


class Server:
    """One running server on a port of 127.0.0.1. `processed`: sampled log-probabilities include the temperature, as
    vLLM's processed_logprobs. `eos`: where it ends by itself, unless told otherwise. `llama`: returns no prompt
    log-probabilities. `alive`: False resets every connection."""

    def __init__(self, model: Bigram, *, folder: str = "", processed: bool = False, llama: bool = False, port: int = 0):
        self.model, self.folder, self.processed, self.llama = model, folder, processed, llama
        self.faults, self.context, self.requests, self.alive = Faults(), 4096, 0, True
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.served, self.seeded, self.stops = MODEL, True, True
        self.eos: set[int] = set()
        self.streaming, self.chatting, self.generating = Streaming(), Chatting(), Generating()
        self.listed: list[dict[str, Any]] | None = None
        self.about_path = "/get_model_info"
        self.edit: Callable[[str, Any], Any] = lambda path, answer: answer
        self.tokenize: Callable[[str], list[int]] | None = None
        outer = self

        class Handler(_Handler):
            server_ = outer

        self._http = QuietServer(("127.0.0.1", port), Handler)
        self.port = int(self._http.server_address[1])
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._http.hang_up()

    def completions(self, body: dict[str, Any]) -> Any:
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        choices: list[dict[str, Any]] = []
        for prompt in prompts:
            for i in range(body["n"]):
                given = body.get("prompt_logprobs") if not self.llama else None
                seed = (body["seed"] or 0) + i if self.seeded else self.requests
                ids, logs = self._sampled(prompt, seed, body, body["max_tokens"])
                k = body.get("logprobs") or 0
                choices.append(
                    {
                        "index": len(choices),
                        "text": "",
                        "finish_reason": "stop" if ids[-1] in {*body["stop_token_ids"], *self.eos} else "length",
                        "token_ids": ids,
                        "logprobs": {
                            "tokens": [f"token_id:{t}" for t in ids],
                            "token_logprobs": [log[t] for t, log in zip(ids, logs, strict=True)],
                            "top_logprobs": [{f"token_id:{j}": v for j, v in log.items()} for log in logs],
                        }
                        if k
                        else None,
                        "prompt_logprobs": given and [None, *self._given(prompt, given)],
                    }
                )
        return {"model": self.served, "choices": choices}

    def generate(self, body: dict[str, Any]) -> Any:
        many = body["sampling_params"]
        many = many if isinstance(many, list) else [many] * len(body["input_ids"])
        answers = []
        for prompt, params in zip(body["input_ids"], many, strict=True):
            k, start = body["top_logprobs_num"], body["logprob_start_len"]
            request = {**params, "logprobs": k}
            ids, logs = self._sampled(prompt, params.get("sampling_seed", 0), request, params["max_new_tokens"])
            meta: dict[str, Any] = {
                "finish_reason": {
                    "type": "stop" if ids and ids[-1] in {*params["stop_token_ids"], *self.eos} else "length"
                },
                "output_token_logprobs": [[log[t], t, None] for t, log in zip(ids, logs, strict=True)],
                "output_top_logprobs": [[[v, j, None] for j, v in log.items()] for log in logs],
            }
            if start >= 0:
                given = [self.model.listed(a, b, k) for a, b in zip(prompt[start:], prompt[start + 1 :], strict=False)]
                own = [[log[t], t, None] for t, log in zip(prompt[start + 1 :], given, strict=True)]
                meta["input_token_logprobs"] = [[None, prompt[start], None], *own]
                meta["input_top_logprobs"] = [None, *([[v, j, None] for j, v in log.items()] for log in given)]
            answers.append({"text": "", "output_ids": ids, "meta_info": meta})
        return answers

    def _sampled(
        self, prompt: list[int], seed: int, body: dict[str, Any], limit: int
    ) -> tuple[list[int], list[dict[int, float]]]:
        stops = set(body["stop_token_ids"]) if self.stops else set()
        stops |= set() if body["ignore_eos"] else self.eos
        ids, _ = self.model.draw(prompt[-1], seed, body["temperature"], limit, stops)
        k = body.get("logprobs") or 1
        logs = [self.model.listed(a, b, k) for a, b in zip((prompt[-1], *ids), ids, strict=False)]
        if self.processed:
            law = Bigram.law(self.model.log_p, body["temperature"])
            logs = [{t: float(law[a, t]) for t in log} for a, log in zip((prompt[-1], *ids), logs, strict=False)]
        return ids, logs

    def _given(self, prompt: list[int], k: int) -> list[dict[str, Any]]:
        return [{str(t): {"logprob": v} for t, v in self.model.listed(a, b, k).items()} for a, b in pairwise(prompt)]


class _Handler(BaseHTTPRequestHandler):
    server_: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        server = self.server_
        if not server.alive:
            return self._reset()
        if self.path == "/v1/models":
            card = {"id": server.served, "max_model_len": server.context, "root": server.folder}
            return self._send(200, {"data": [card] if server.listed is None else server.listed})
        if self.path == server.about_path:
            return self._send(200, {"model_path": server.folder, "tokenizer_path": server.folder})
        return self._send(404, {"error": {"message": "no such page"}})

    def do_POST(self) -> None:
        server = self.server_
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(raw)
        if not server.alive:
            return self._reset()
        if self.path == "/tokenize":
            if server.tokenize is None:
                return self._send(404, {"error": {"message": "Not Found"}})
            return self._send(200, {"tokens": server.tokenize(body["prompt"])})
        by_ids = self.path == "/inference/v1/generate"
        if by_ids and not server.generating.on:
            return self._send(server.generating.status, {"error": {"message": "Not Found"}})
        server.requests += 1
        server.bodies.append(body)
        server.headers.append(dict(self.headers.items()))
        fault = server.faults.of(raw)
        if fault in ("refuse", "reset"):
            return self._reset(half=fault == "reset")
        if fault in HOSTILE:
            self.close_connection = True
            return HOSTILE[fault](self.wfile)
        if fault == "delay":
            time.sleep(server.faults.delay)
        if fault == "429":
            return self._send(429, {"error": {"message": "busy"}}, {"Retry-After": "0.05"})
        if fault in ("400", "401", "403", "404", "500", "503"):
            return self._send(int(fault), {"error": {"message": f"scripted {fault}"}})
        if self.path == "/v1/completions":
            if body["model"] != server.served:
                return self._send(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
            longest = max(map(len, body["prompt"])) if isinstance(body["prompt"][0], list) else len(body["prompt"])
            if longest + body["max_tokens"] > server.context or fault == "context":
                return self._send(400, {"error": {"message": "This model's maximum context length is 9 tokens."}})
            answer = server.completions(body)
            spoil(answer["choices"], fault)
        elif self.path == "/v1/chat/completions":
            wrong = "This model's maximum context length is 9 tokens." if fault == "context" else ""
            if wrong := wrong or server.chatting.refusal(body):
                return self._send(400, {"error": {"message": wrong}})
            answer = server.chatting.answer(body, body["seed"] if server.seeded else server.requests)
            answer["model"] = server.served
            answer["choices"] = [] if fault == "few" else answer["choices"]
        elif by_ids:
            wrong = "This model's maximum context length is 9 tokens." if fault == "context" else ""
            if wrong := wrong or server.generating.refusal(body):
                return self._send(400, {"error": {"message": wrong}})
            answer = server.generating.answer(body, server.model.log_p)
            spoil_ids(answer, fault)
        else:
            answer = server.generate(body)
        if fault == "other":
            answer["model"] = "another"
        answer = server.edit(self.path, answer)
        if body["stream"] and server.streaming.on:
            return server.streaming.send(self, answer, cut=fault == "truncate")
        return self._send(200, answer, cut=fault == "truncate")

    def _send(self, status: int, answer: Any, headers: dict[str, str] | None = None, cut: bool = False) -> None:
        data = json.dumps(answer).encode()
        data = data[: len(data) // 2] if cut else data
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _reset(self, half: bool = False) -> None:
        """Close at once, by RST; after half of an answer where `half`."""
        if half:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n" + b'{"choices": [' + b" " * 512)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
