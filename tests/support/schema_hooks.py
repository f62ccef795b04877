"""For Schemathesis: what it makes up is answered briefly, so that thousands take a minute."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis import GenerationMode

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
    if case.operation.path not in LENGTHS or not isinstance(body, dict):
        return
    said, lengths = LENGTHS[case.operation.path]
    if said not in body:
        return
    given = {name: body[name] for name in lengths if body.get(name) is not None}
    short = {name: SHORT for name, n in given.items() if _is_length(n)}
    case.body = {**body, **(short if given else {lengths[0]: SHORT})}
    if case.meta.generation.mode == GenerationMode.POSITIVE:
        # Which layers, heads and positions there are, no document can say.
        case.body.pop("pellucid", None)


def _is_length(n: Any) -> bool:
    """A whole number may come as 5.0."""
    number = isinstance(n, int | float) and not isinstance(n, bool)
    return number and SHORT <= n < 2**31 and n == int(n)
