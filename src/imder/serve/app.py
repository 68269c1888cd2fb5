"""The application: its routes, and what starts and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from imder.media.predictor import Predictor
from imder.serve.batcher import Batcher
from imder.serve.config import ServeConfig
from imder.serve.engine import Engine
from imder.serve.errors import CLOSE, Refusal, busy
from imder.serve.features import parse_json, read_sample, read_samples
from imder.serve.guard import Guard
from imder.serve.media import MediaWorkers
from imder.serve.receive import body, chunks
from imder.serve.temporary import TemporaryFolder
from imder.serve.upload import clip_request, read_form

PAGE = Path(__file__).parent / "page"


@dataclass
class Running:
    """What runs between the start and the end of the application; None outside."""

    batcher: Batcher | None = None
    media: MediaWorkers | None = None


def create_app(predictor: Predictor, config: ServeConfig | None = None) -> FastAPI:
    """The service of a predictor, as an ASGI application.

    Args:
        predictor: a trained system.
        config: limits and access; by default those of `ServeConfig`.
    """
    config = config or ServeConfig()
    engine = Engine(predictor, config)
    running = Running()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        folder = TemporaryFolder(config.temporary)
        batcher = Batcher(engine.predict, config)
        await asyncio.to_thread(engine.warm_up)
        batcher.start()
        running.batcher, running.media = batcher, MediaWorkers(predictor, folder, config)
        try:
            yield
        finally:
            running.media.close()
            running.batcher = running.media = None
            await batcher.close()
            folder.close()

    app = FastAPI(title="imder", docs_url=None, redoc_url=None, lifespan=lifespan)

    async def predicted(samples: list[Any]) -> list[dict[str, Any]]:
        if running.batcher is None:
            raise busy("the service isn't ready yet", 503)
        try:
            async with asyncio.timeout(config.predict_timeout):
                return await running.batcher.predict(samples)
        except TimeoutError:
            raise busy(f"no prediction within {config.predict_timeout:g} seconds", 503) from None

    @app.get("/healthz")
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        return JSONResponse({"status": "ready"}) if running.batcher else JSONResponse({"error": "not ready yet"}, 503)

    @app.get("/v1/model")
    async def model() -> Response:
        return JSONResponse(engine.card())

    async def predicted_upload(request: Request) -> dict[str, Any]:
        if not engine.reads_media:
            raise Refusal(415, "the model's features aren't made from media: send features as JSON", CLOSE)
        if running.media is None:
            raise busy("the service isn't ready yet", 503)
        async with running.media.slot() as folder:
            pieces = chunks(request, config.max_bytes, config.receive_timeout)
            form = await read_form(pieces, request.headers["content-type"], folder, config)
            return await running.media.predict(clip_request(form, engine.spec, config))

    @app.post("/v1/predict")
    async def predict(request: Request) -> Response:
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            return JSONResponse({"request_id": request.state.id} | await predicted_upload(request))
        document = parse_json(await body(request, config.max_json_bytes, config.receive_timeout))
        rows = await predicted([read_sample(document, engine.spec, config)])
        return JSONResponse({"request_id": request.state.id, "predictions": rows})

    @app.post("/v1/predict/batch")
    async def predict_batch(request: Request) -> Response:
        document = parse_json(await body(request, config.max_json_bytes, config.receive_timeout))
        samples = read_samples(document, engine.spec, config)
        rows = await predicted(samples)
        answers = [{"id": sample.id} | row for sample, row in zip(samples, rows, strict=True)]
        return JSONResponse({"request_id": request.state.id, "predictions": answers})

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return JSONResponse({"error": error.sentence, "request_id": request.state.id}, error.status, error.headers)

    @app.exception_handler(HTTPException)
    async def not_served(request: Request, error: HTTPException) -> Response:
        text = f"{request.method} does nothing at this address; /docs lists what there is"
        if error.status_code not in (404, 405):
            text = str(error.detail)
        return JSONResponse({"error": text, "request_id": request.state.id}, error.status_code, error.headers)

    app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    app.add_middleware(Guard, config=config)
    return app
