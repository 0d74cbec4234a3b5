"""The description of a service: its operations as an OpenAPI 3.1 document, and the same as a page without scripts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from json import dumps
from typing import Any, Literal

from pydantic import TypeAdapter

from gsi_node.service.operation import EVENTS, Operation

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "message", "param", "code"],
            "properties": {
                "type": {"type": "string"},
                "message": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "the field of the body that is to blame"},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def document(name: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """What can be asked of the service of `name`."""
    template = "#/components/schemas/{model}"
    used: list[tuple[Any, Literal["validation", "serialization"]]] = [
        (one.body, "validation") for one in operations if one.body is not None
    ]
    used += [
        (kind, "serialization") for kind in dict.fromkeys(kind for one in operations for kind in one.answers.values())
    ]
    adapted = [(kind, mode, TypeAdapter[Any](kind)) for kind, mode in used]
    schemas, definitions = TypeAdapter.json_schemas(adapted, ref_template=template)
    paths: dict[str, Any] = {}
    for operation in operations:
        path = _PARAMETER.sub(r"{\1}", operation.path)
        about: dict[str, Any] = {
            "summary": operation.about,
            "responses": {
                "200": {
                    "description": "done",
                    "content": {
                        media: _content(media, schemas[kind, "serialization"])
                        for media, kind in operation.answers.items()
                    },
                },
                "default": {
                    "description": "refused",
                    "content": {"application/json": {"schema": {"$ref": template.format(model="Error")}}},
                },
            },
        }
        if names := _PARAMETER.findall(operation.path):
            about["parameters"] = [
                {"name": each, "in": "path", "required": True, "schema": {"type": "string"}} for each in names
            ]
        if operation.body is not None:
            schema = schemas[operation.body, "validation"]
            about["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths.setdefault(path, {})[operation.method.lower()] = about
    return {
        "openapi": "3.1.0",
        "info": {"title": f"gsi serve: {name}", "version": version("gsi-node")},
        "paths": paths,
        "components": {
            "schemas": {**definitions.get("$defs", {}), "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "where GSI_API_KEY is set"}},
        },
        "security": [{"key": []}, {}],
    }


def _content(media: str, schema: dict[str, Any]) -> dict[str, Any]:
    """itemSchema: of each event's data, as OpenAPI 3.2 has it; a document of 3.1 knows the text of a stream alone."""
    return {"schema": {"type": "string"}, "x-itemSchema": schema} if media == EVENTS else {"schema": schema}


def page(described: dict[str, Any]) -> str:
    """The document for a reader."""
    parts = [
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(about['summary'])}</p>{_body(about)}"
        for path, methods in described["paths"].items()
        for method, about in methods.items()
    ]
    parts.append("<h1>Bodies</h1>")
    parts += [
        f"<h2 id='{escape(name)}'>{escape(name)}</h2><pre>{escape(dumps(schema, indent=2))}</pre>"
        for name, schema in described["components"]["schemas"].items()
    ]
    title = escape(described["info"]["title"])
    style = "body{font:1rem/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}pre{overflow:auto}"
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{title}</title><style>{style}</style><h1>{title}</h1><p>The same as "
        f"<a href='openapi.json'>openapi.json</a>.</p>{''.join(parts)}</html>"
    )


def _body(about: dict[str, Any]) -> str:
    if "requestBody" not in about:
        return ""
    reference = about["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    name = escape(reference.rpartition("/")[2])
    return f"<p>Body: <a href='#{name}'>{name}</a></p>"
