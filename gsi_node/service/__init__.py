"""`gsi serve`: models, rewards and solvers over HTTP. Needs the extra `serve`.

    --model, --reward    POST /sample /score /encode /decode /supports, or /reward    GET /health
    --openai             POST /v1/chat/completions    GET /v1/models /health
    both                 GET /metrics /openapi.json /docs
    --mcp                the tool `solve`, over standard input and output (mcp_tool.py), or at /mcp (mcp_http.py)

Of a model, token ids go in and out, with the engine's cache and batching; `remote:http://HOST:PORT` is its client
(app.py, bodies.py). Of a solver, OpenAI's clients get words (endpoint.py, chat.py, chat_bodies.py, solving.py). door.py
says who may come in, base.py what is owed to requests, server.py bounds connections, time and the end.
"""
