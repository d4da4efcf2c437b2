"""What the routes say of themselves in the OpenAPI document."""

from __future__ import annotations

import re
from typing import Any

import orjson
from fastapi.routing import APIRoute
from starlette.responses import Response

from lightfast.model import Info, Listing, Preview
from lightfast.sniff import EXTENSIONS
from lightfast.spec import PARAMETERS

TTL: dict[str, Any] = {
    "description": "Time to live: 2h, 1h30m, 7200 (seconds), 0 = for ever; at most 100 years",
    # What every number of this length keeps below 100 years; longer ones may be understood as well.
    "json_schema_extra": {
        "minLength": 1,
        "pattern": "^([0-9]{1,9}|([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?)$",
    },
}

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
_PROBLEMS = {
    400: "The request is not well formed",
    401: "The write token is missing or wrong",
    403: "The variant needs a signature",
    404: "No image has this id",
    408: "The rest of the body did not come",
    412: "A precondition does not hold",
    413: "The image is larger than the limit",
    415: "The bytes are of no supported type, or not of the type that the request names",
    416: "No requested range lies within the image",
    422: "The bytes are no usable image",
    502: "The stored record can't be read",
    503: "The store does not answer, or the server is overloaded",
    507: "The store is full",
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/problem+json": {"schema": _PROBLEM_SCHEMA}}
    return {status: {"description": _PROBLEMS[status], "content": content} for status in statuses}


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


_CREATED: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "Stored under an id that named nothing before",
        "model": Info,
        "headers": {"Location": _header("The image's URL, with its version")},
    },
}
_REPLACED = {200: {"description": "Stored; the id named an image before", "model": Info}}
_PICTURES = dict.fromkeys(EXTENSIONS, _BINARY)
_RAW = {**_PICTURES, "application/octet-stream": _BINARY}
_BASE64 = "^(data:image/[a-z]+;base64,)?([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_FORM = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}},
    }
}
_JSON = {
    "schema": {
        "type": "object",
        "required": ["base64_data"],
        "properties": {
            "base64_data": {
                "type": "string",
                "minLength": 1,
                "pattern": _BASE64,
                "description": "Base64, with or without a data-URL prefix",
            },
            "mime_type": {"type": "string", "examples": ["image/png"]},
        },
    }
}


def _read_operation(route: APIRoute) -> str:
    # Like FastAPI's own, but without the route's name, which counts the instances of Lightfast in the process.
    return re.sub(r"\W", "_", f"read_image{route.path_format}_get")


_PICTURE_HEADERS = {
    "ETag": _header("Of this representation, strong"),
    "Cache-Control": _header("How long browsers and caches may keep it"),
    "Cache-Status": _header("Which cache level answered (RFC 9211)"),
}
_VARIANT = [
    {
        "name": name,
        "in": "query",
        "description": f"As imgix has it: {parameter.allowed}",
        "schema": {"type": "string"},
    }
    for name, parameter in PARAMETERS.items()
] + [
    {"name": "preset", "in": "query", "description": "A variant that was set up", "schema": {"type": "string"}},
    {"name": "s", "in": "query", "description": "The signature", "schema": {"type": "string"}},
    {"name": "expires", "in": "query", "description": "Its end, in Unix seconds", "schema": {"type": "string"}},
]

READ: dict[str, Any] = {
    "summary": "Read Image",
    "tags": ["images"],
    "generate_unique_id_function": _read_operation,
    "response_class": Response,
    "openapi_extra": {"parameters": _VARIANT},
    "responses": {
        200: {"description": "The image, or a variant of it", "content": _PICTURES, "headers": _PICTURE_HEADERS},
        206: {"description": "The ranges asked for", "content": _PICTURES | {"multipart/byteranges": _BINARY}},
        304: {"description": "The client's copy is current"},
        **_problems(400, 403, 404, 412, 413, 415, 416, 422, 502, 503),
    },
}
PLACEHOLDER: dict[str, Any] = {
    "summary": "Read Placeholder",
    "tags": ["placeholders"],
    "response_class": Response,
    "responses": {
        200: {"description": "The placeholder", "content": _PICTURES, "headers": _PICTURE_HEADERS},
        206: {"description": "The ranges asked for", "content": _PICTURES | {"multipart/byteranges": _BINARY}},
        304: {"description": "The client's copy is current"},
        **_problems(400, 412, 416, 422, 503),
    },
}
PREVIEW: dict[str, Any] = {"response_model": Preview, "responses": _problems(400, 404, 422, 502, 503)}
PUT: dict[str, Any] = {
    "status_code": 201,
    "responses": {**_REPLACED, **_CREATED, **_problems(400, 401, 408, 412, 413, 415, 422, 503, 507)},
    "openapi_extra": {"requestBody": {"required": True, "content": _RAW}},
}
POST: dict[str, Any] = {
    "status_code": 201,
    "responses": {**_CREATED, **_problems(400, 401, 408, 412, 413, 415, 422, 503, 507)},
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {**_RAW, "multipart/form-data": _FORM, "application/json": _JSON},
        }
    },
}
DELETE: dict[str, Any] = {
    "status_code": 204,
    "responses": {204: {"description": "Removed"}, **_problems(400, 401, 404, 412, 422, 503)},
}
INFO: dict[str, Any] = {"response_model": Info, "responses": _problems(400, 404, 422, 502, 503)}
LIST: dict[str, Any] = {"response_model": Listing, "responses": _problems(400, 401, 422, 503)}


def stored_response(info: Info, created: bool) -> Response:
    headers = {"etag": f'"{info.etag}"', "cache-control": "no-store"}
    if created:
        headers["location"] = info.url
    status = 201 if created else 200
    return Response(orjson.dumps(info, option=orjson.OPT_UTC_Z), status, headers, media_type="application/json")
