"""`gsi serve --model SPEC --port P`: the in-process engine as a service, with its cache and batching.

    POST /sample /score /encode /decode /supports (a model)    POST /reward (a reward)    GET /health

Token ids in and out; `remote:http://HOST:PORT` is the client. door.py says who may come in, bodies.py what may be
asked, app.py answers, server.py bounds connections, time and the end. Needs the extra `serve`.
"""
