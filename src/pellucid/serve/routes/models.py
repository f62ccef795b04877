"""/v1/models, /health, /metrics."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from ...sequence import Settings
from ..answers import Json
from ..routing import failures, new_router
from ..schema.models import Health, ModelCard, ModelList
from ..service import Service

__all__ = ["router"]


def router(service: Service) -> APIRouter:
    routes = new_router()
    stops = service.prompts.stops
    settings = Settings.of(**service.conversing({}), stop_tokens=stops).flat()

    def card() -> ModelCard:
        return {
            "id": service.model,
            "object": "model",
            "created": service.began,
            "owned_by": "pellucid",
            "max_model_len": service.gpt.hparams.n_ctx,
            "n_params": service.gpt.hparams.n_params,
            "hparams": service.gpt.hparams.to_dict(),
            "settings": settings,
        }

    @routes.get("/v1/models", responses=failures(401, 403))
    async def list_models() -> ModelList:
        """The model that is served; OpenAI's clients ask for it."""
        return {"object": "list", "data": [card()]}

    @routes.get("/v1/models/{model:path}", responses=failures(401, 403, 404))
    async def show_model(model: str) -> ModelCard:
        """The same, by its name."""
        service.check_model(model)
        return card()

    @routes.get(
        "/health",
        response_model=Health,
        responses={503: {"model": Health, "description": "It takes no requests."}, **failures(403)},
    )
    async def health() -> Response:
        """Whether it takes requests; not while it drains, nor after its engine failed. Needs no
        key."""
        return Json({"status": service.state}, status_code=200 if service.state == "ok" else 503)

    @routes.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **failures(401, 403)},
    )
    async def metrics() -> Response:
        """Counts and durations, as Prometheus reads them."""
        return Response(
            service.metrics.text(), headers={"content-type": service.metrics.content_type}
        )

    return routes
