"""The application: its routes, and the form of its errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from imder.media.predictor import Predictor
from imder.serve.config import ServeConfig
from imder.serve.errors import Refusal
from imder.serve.features import FeatureSample, read_sample, read_samples
from imder.serve.guard import Guard
from imder.serve.live import Answer
from imder.serve.schemas import FORM, Predictions, Sample, Samples, request_body, responses
from imder.serve.service import Service
from imder.serve.tensors import MEDIA_TYPE, read_numbered_tensors, read_tensors

PAGE = Path(__file__).parent / "page"
REFERENCE = Path(__file__).parent / "reference"

ABOUT = (
    "Emotion recognition from language, vision and audio when some of them are missing. With a token, send it as "
    "'Authorization: Bearer TOKEN'. The header X-Request-ID (letters, digits and ._:-, up to 64) is answered. "
    "Live streams: WebSocket /v1/stream."
)


def create_app(predictor: Predictor, config: ServeConfig | None = None) -> FastAPI:
    """The service of a predictor, as an ASGI application.

    Args:
        predictor: a trained system.
        config: limits and access; by default those of `ServeConfig`.
    """
    config = config or ServeConfig()
    service = Service(predictor, config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(title="imder", description=ABOUT, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.service = service
    _add_predictions(app, service)
    _add_status(app, service)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _not_served)
    app.add_route("/docs", lambda request: RedirectResponse("/docs/"), include_in_schema=False)
    app.mount("/docs", StaticFiles(directory=REFERENCE, html=True), name="reference")
    app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    app.add_middleware(Guard, config=config, metrics=service.metrics)
    if config.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type", "X-Request-ID"),
            expose_headers=("X-Request-ID", "Retry-After"),
        )
    return app


def _add_predictions(app: FastAPI, service: Service) -> None:
    spec, config = service.engine.spec, service.config

    @app.post("/v1/predict", responses=responses(Predictions), openapi_extra=request_body(Sample, FORM))
    async def predict(request: Request) -> Response:
        """Predict one sample of features, as JSON or safetensors, or an upload of sound, video or a text."""
        kind = _media_type(request)
        if kind.startswith("multipart/"):
            return JSONResponse({"request_id": request.state.id} | await service.predict_upload(request))
        if kind == MEDIA_TYPE:
            samples = [read_tensors(await service.body(request), spec, config)]
        else:
            samples = [read_sample(await service.document(request), spec, config)]
        return JSONResponse(_answer(request, samples, await service.predict(samples)))

    @app.post("/v1/predict/batch", responses=responses(Predictions), openapi_extra=request_body(Samples))
    async def predict_batch(request: Request) -> Response:
        """Predict several samples of features, whatever modalities each of them has."""
        if _media_type(request) == MEDIA_TYPE:
            samples = read_numbered_tensors(await service.body(request), spec, config)
        else:
            samples = read_samples(await service.document(request), spec, config)
        return JSONResponse(_answer(request, samples, await service.predict(samples)))

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await service.streams.serve(socket)


def _add_status(app: FastAPI, service: Service) -> None:
    @app.get("/v1/model")
    async def model() -> Response:
        """The model: task, modalities, classes, recipe of its features, versions, and the service's limits."""
        return JSONResponse(service.engine.card())

    @app.get("/healthz")
    async def healthz() -> Response:
        """Whether the process answers."""
        return JSONResponse({"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        """Whether the model is loaded and warm, and uploads are read."""
        trouble = service.trouble
        return JSONResponse({"error": trouble}, 503) if trouble else JSONResponse({"status": "ready"})

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counters in the text format of Prometheus."""
        return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _answer(request: Request, samples: Sequence[FeatureSample], rows: Sequence[Answer]) -> Answer:
    """The document of predictions from features: each with its sample's id, and all remarks."""
    pairs = [(sample.id, dict(row)) for sample, row in zip(samples, rows, strict=True)]
    remarks = [{"id": name} | remark for name, row in pairs for remark in row.pop("remarks")]
    predictions = [{"id": name} | row for name, row in pairs]
    return {"request_id": request.state.id, "predictions": predictions, "remarks": remarks}


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse({"error": error.sentence, "request_id": request.state.id}, error.status, error.headers)


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, headers, text = error.status_code, dict(error.headers or {}), str(error.detail)
    if status in (404, 405):
        text = f"{request.method} does nothing at this address; /docs lists what there is"
        if methods := _methods(request):  # the page, mounted at /, took a request that no route takes
            status, headers["Allow"] = 405, ", ".join(sorted(methods))
            text = f"this address takes {headers['Allow']}, not {request.method}; /docs describes it"
    return JSONResponse({"error": text, "request_id": request.state.id}, status, headers)


def _methods(request: Request) -> set[str]:
    """The methods of the routes at a request's path."""
    path = request.scope["path"]
    return {m for r in request.app.routes if isinstance(r, Route) and r.path == path for m in r.methods or ()}
