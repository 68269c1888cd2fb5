"""The service as a process: uvicorn, with signals that end it gracefully."""

from __future__ import annotations

import signal

import uvicorn
from fastapi import FastAPI

from imder.serve.config import ServeConfig

MOST_HEADER_BYTES = 16 << 10


def serve(app: FastAPI, config: ServeConfig, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress are finished first."""
    signal.signal(signal.SIGTERM, lambda number, frame: None)  # uvicorn raises it again after it has ended
    settings = uvicorn.Config(
        app,
        host,
        port,
        http="h11",
        ws="websockets-sansio",
        ws_max_size=config.max_json_bytes,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(config.drain_timeout),
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
    )
    uvicorn.Server(settings).run()
