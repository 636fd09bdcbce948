"""The API's description, made from the models of its questions and answers: they cannot differ.

https://spec.openapis.org/oas/v3.1.1.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from backstay.inventory.watch import Right
from backstay.watch.web.problem import MEDIA_TYPE, Problem
from backstay.watch.web.questions import Nothing

_REF = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation: what it takes in path (``inside``), query and body, and what it answers.

    ``reads``: it asks the database, which may not answer.
    """

    path: str
    answer: type[BaseModel]
    method: Literal["GET", "POST"] = "GET"
    inside: type[BaseModel] = Nothing
    query: type[BaseModel] = Nothing
    body: type[BaseModel] | None = None
    right: Right = Right.READ
    reads: bool = False


def description(
    prefix: str, operations: Sequence[Operation], summaries: Sequence[str], *, on_loopback: bool
) -> dict[str, Any]:
    """Return the OpenAPI document; ``summaries`` are the operations' own, in order.

    ``on_loopback``: whoever reaches it may read, without a token.
    """
    used: list[tuple[type[BaseModel], JsonSchemaMode]] = [(Problem, "serialization")]
    used += [(one.answer, "serialization") for one in operations]
    used += [(one.body, "validation") for one in operations if one.body is not None]
    _, schemas = models_json_schema(used, ref_template=_REF)
    paths: dict[str, Any] = {}
    for one, summary in zip(operations, summaries, strict=True):
        told = _operation(one, summary)
        if on_loopback and one.right is Right.READ:
            told["security"] = [{}, {"token": []}]
        paths.setdefault(prefix + one.path, {})[one.method.lower()] = told
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Backstay's watch",
            "version": version("backstay"),
            "description": "How the cloud stands, what happened, what is done. Times are Unix "
            "seconds.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(one: Operation, summary: str) -> dict[str, Any]:
    errors = {"401": "no token, or nobody's", "422": "the request is not as described here"}
    errors |= {"429": "too many wrong tokens from this address"}
    if one.inside is not Nothing:
        errors["404"] = "there is none of that name"
    if one.right is Right.ACT:
        errors |= {
            "403": "this token may read, not act",
            "404": "there is nothing to approve",
            "409": "it cannot be approved",
            "415": "the body is not JSON",
        }
    if one.reads:
        errors["503"] = "the journal cannot be read"
    told: dict[str, Any] = {
        "operationId": f"{one.method.lower()}{one.path.replace('/', '-').translate(_NO_BRACES)}",
        "summary": summary.partition("\n")[0],
        "parameters": [*_parameters(one.inside, "path"), *_parameters(one.query, "query")],
        "responses": {
            "200": _content("the answer", "application/json", one.answer),
            **{code: _content(why, MEDIA_TYPE, Problem) for code, why in errors.items()},
        },
    }
    if one.body is not None:
        told["requestBody"] = {
            "required": True,
            **_body("application/json", one.body),
        }
    return told


_NO_BRACES = str.maketrans("", "", "{}")


def _content(why: str, media_type: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"description": why, **_body(media_type, model)}


def _body(media_type: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"content": {media_type: {"schema": {"$ref": _REF.format(model=model.__name__)}}}}


def _parameters(model: type[BaseModel], place: str) -> list[dict[str, Any]]:
    schema = model.model_json_schema(ref_template=_REF)
    needed = schema.get("required", [])
    return [
        {
            "name": name,
            "in": place,
            "required": place == "path" or name in needed,
            "schema": _plain(told, schema.get("$defs", {})),
        }
        for name, told in schema.get("properties", {}).items()
    ]


def _plain(told: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter's schema: one that may be left out is never null, and refers to none."""
    kinds = [one for one in told.get("anyOf", [told]) if one.get("type") != "null"]
    schema = {key: value for one in kinds for key, value in one.items()}
    if "$ref" in schema:
        schema = known[schema["$ref"].rpartition("/")[2]]
    default = told.get("default")
    return {
        **{k: v for k, v in schema.items() if k not in {"title", "default", "description"}},
        **({} if default is None else {"default": default}),
    }
