"""For Schemathesis: what it makes up is answered briefly, so that thousands take a minute."""

from __future__ import annotations

from typing import Any

import schemathesis
from pydantic import ValidationError

from pellucid.serve.schema.declared import Inspection

# Path -> what makes a reply, and the fields that can say how long it may be.
LENGTHS = {
    "/v1/completions": ("prompt", ("max_tokens",)),
    "/v1/chat/completions": ("messages", ("max_tokens", "max_completion_tokens")),
    "/v1/responses": ("input", ("max_output_tokens",)),
}
SHORT = 2  # tokens


@schemathesis.hook
def before_call(context: Any, case: Any, options: Any) -> None:
    """What is right stays right, and what is wrong stays wrong."""
    body = case.body
    if not isinstance(body, dict):
        return
    if "pellucid" in body:
        body = case.body = {**body, "pellucid": _possible(body["pellucid"])}
    if "interventions" in body:
        body = case.body = {**body, **_possible({"interventions": body["interventions"]})}
    if case.operation.path in ("/v1/conversations", "/v1/conversations/{id}"):
        body = case.body = _brief(body)
    said, lengths = LENGTHS.get(case.operation.path, ("", ()))
    if not said or said not in body:
        return
    given = {name: body[name] for name in lengths if body.get(name) is not None}
    short = {name: SHORT for name, n in given.items() if _is_length(n)}
    case.body = {**body, **(short if given else {lengths[0]: SHORT})}


def _brief(body: dict[str, Any]) -> dict[str, Any]:
    """A conversation whose replies are brief."""
    settings = body.get("settings")
    if settings is None:
        settings = {}
    if not isinstance(settings, dict) or not _is_length(settings.get("max_tokens", SHORT)):
        return body
    return {**body, "settings": {**settings, "max_tokens": SHORT}}


def _possible(asked: Any) -> Any:
    """What may be asked of inspection, though not of this model (a value's name, a layer, how long
    a vector is), as something that may be asked of it."""
    try:
        found = Inspection.model_validate(_whole(asked))
    except ValidationError:
        return asked
    possible: dict[str, Any] = {}
    if found.trace is not None:
        possible["trace"] = {"names": "embed", "top_k": found.trace.top_k}
    if found.interventions is not None:
        change = {"name": "embed", "op": "scale", "value": 0.5}
        possible["interventions"] = [change] * len(found.interventions)
    return possible


def _whole(value: Any) -> Any:
    """With numbers as the server reads them: 5.0 is 5."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list) else value


def _is_length(n: Any) -> bool:
    """A whole number may come as 5.0."""
    number = isinstance(n, int | float) and not isinstance(n, bool)
    return number and SHORT <= n < 2**31 and n == int(n)
