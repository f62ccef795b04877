"""/v1/inspect/history: how the model learned."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.responses import Response

from ..routing import failures, new_router
from ..service import Service

__all__ = ["router"]


def router(service: Service) -> APIRouter:
    routes = new_router()

    @routes.get("/v1/inspect/history", response_model=dict, responses=failures(401, 403))
    async def show_history() -> Response:
        """The moments of the model's training, as the page draws them with a slider; those of the
        model `talk` where it came without any."""
        body = await asyncio.to_thread(service.histories.answer)
        return Response(body, media_type="application/json")

    return routes
