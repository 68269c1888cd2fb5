"""``imder serve``: a trained system over HTTP, with its page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imder.cli.options import add_device, add_run, add_threads, add_transcription, thread_count
from imder.cli.parser import listed, number, whole
from imder.types import ImderError

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser

LOCAL = ("127.0.0.1", "::1", "localhost")
"""Addresses that only this machine can reach."""


def add_options(parser: Parser) -> None:
    """Options of ``imder serve``."""
    add_run(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; others can reach all but the default"
    )
    parser.add_argument("--port", type=whole(), default=8000, help="port to listen on; 0 for any that is free")
    parser.add_argument("--token-file", help="file with the token that callers send; needed for any other --host")
    parser.add_argument(
        "--allow-origin", type=listed, help="sites whose pages may call it, such as https://example.org"
    )
    parser.add_argument("--level", type=float, default=0.9, help="how often intervals or sets should hold the label")
    parser.add_argument("--samples", type=whole(1), help="recoveries per prediction (default: the preset's)")
    parser.add_argument("--max-seconds", type=number(above=0), default=120.0, help="longest sound or video, in seconds")
    parser.add_argument("--max-megabytes", type=whole(1), default=64, help="largest upload, in MiB")
    parser.add_argument("--language", help="where the run's transformer is now (folder or name), or none")
    parser.add_argument(
        "--face-model", help="where the run's face_landmarker.task is now (default: as for imder extract)"
    )
    add_transcription(parser)
    parser.add_argument("--audio-model", help="where the run's speech model for sound is now (folder or name)")
    parser.add_argument("--openface-program", help="FeatureExtraction or its folder, for videos (default: on PATH)")
    add_device(parser)
    add_threads(parser, what="predictions at once, each on a core of the CPU")


def run(options: Namespace) -> int:
    """Serve until a signal ends it."""
    token = _token(options.token_file)
    if options.host not in LOCAL and token is None:
        raise ImderError(
            f"--host {options.host}: others could reach the service; give a --token-file, or use 127.0.0.1"
        )
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImderError(f"{error.name} is not installed: pip install 'imder[serve]'") from None
    import torch

    from imder.cli.console import say
    from imder.jobs.threads import set_threads
    from imder.media.predictor import Predictor
    from imder.serve.app import create_app
    from imder.serve.config import MIB, ServeConfig
    from imder.serve.server import listen, serve

    listener = listen(options.host, options.port)
    threads = thread_count(options) or torch.get_num_threads()
    set_threads(1)
    predictor = Predictor(
        options.run,
        options.device,
        language=options.language,
        openface=options.openface_program,
        face_model=options.face_model,
        transcribe=options.transcribe,
        asr_model=options.asr_model,
        asr_language=options.asr_language,
        audio_model=options.audio_model,
    )
    config = ServeConfig(
        token=token,
        origins=options.allow_origin or (),
        max_bytes=options.max_megabytes * MIB,
        max_seconds=options.max_seconds,
        samples=options.samples,
        level=options.level,
        workers=threads if predictor.model.device.type == "cpu" else 1,
    )
    app = create_app(predictor, config)
    port = listener.getsockname()[1]
    name = f"[{options.host}]" if ":" in options.host else options.host
    say(f"{options.run} at http://{name}:{port}, interface at http://{name}:{port}/docs; Ctrl-C ends it")
    serve(app, config, listener)
    return 0


def _token(file: str | None) -> str | None:
    """The token in a file.

    Raises:
        ImderError: the file can't be read or holds no token of one line.
    """
    if file is None:
        return None
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImderError(f"--token-file {file}: can't be read ({error})") from None
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise ImderError(f"--token-file {file}: a line of at least 16 printable ASCII characters is needed")
    return token
