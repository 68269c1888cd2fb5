"""What the command line can be asked about media; `imder.cli` knows the rest."""

from __future__ import annotations

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt


def media_options(parser: ArgumentParser) -> None:
    """Of ``imder predict``: one clip or recording, and how media are read."""
    parser.add_argument("--video", help="one clip: a video; its sound is taken where --audio isn't given")
    parser.add_argument("--audio", help="one clip: a file of sound")
    parser.add_argument("--text", help="one clip: what is said")
    parser.add_argument("--openface", help="one clip: OpenFace's table of the face")
    parser.add_argument("--transcript", help="with --window: what was said when (SRT, WebVTT, CSV of start, end, text)")
    parser.add_argument("--window", type=PositiveFloat, help="seconds: a time series of a long recording")
    parser.add_argument("--hop", type=PositiveFloat, help="seconds from window to window (default: a quarter of one)")
    parser.add_argument(
        "--least-share",
        type=float,
        help="with --window: of it, what a modality's frames must cover to count as there (default: 0.1)",
    )
    parser.add_argument("--language", help="where the run's transformer lies now (folder or name), or none")
    parser.add_argument("--openface-program", help="FeatureExtraction or its folder, for videos (default: on PATH)")


def extract_options(parser: ArgumentParser) -> None:
    """Of ``imder extract``."""
    parser.add_argument("source", help="CSV manifest, or folder of media")
    parser.add_argument("out", help="store to write")
    parser.add_argument(
        "--language", help="transformer: folder or name, or none (default: BERT of the texts' language)"
    )
    parser.add_argument("--max-tokens", type=PositiveInt, default=50, help="of a text (default: 50)")
    parser.add_argument("--audio", default="librosa33", help="librosa33, mel64, egemaps or none (default: librosa33)")
    parser.add_argument(
        "--vision",
        default="cues",
        help="columns of OpenFace: cues (49), sims (709), groups such as pose+aus, or none (default: cues)",
    )
    parser.add_argument("--openface", help="OpenFace's FeatureExtraction or its folder (default: on PATH, if anywhere)")
    parser.add_argument(
        "--task", choices=["regression", "classification"], help="kind of labels (default: by the labels)"
    )
    parser.add_argument("--jobs", type=PositiveInt, default=1, help="clips at once (default: 1)")
    parser.add_argument("--backend", choices=["loky", "ray", "dask"], default="loky", help="of joblib (default: loky)")
    parser.add_argument("--address", help="of a running Ray or Dask cluster (default: start one here)")
    parser.add_argument(
        "--threads", type=NonNegativeInt, default=0, help="CPU threads of each job (default: its share)"
    )
