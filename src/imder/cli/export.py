"""``imder export``: a trained system as ONNX files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imder.cli.console import say
from imder.cli.options import add_run

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser


def add_options(parser: Parser) -> None:
    """Options of ``imder export``."""
    add_run(parser)
    parser.add_argument("out", help="folder to write")
    parser.add_argument("--force", action="store_true", help="replace an earlier export in OUT")


def run(options: Namespace) -> int:
    """Write the files."""
    from imder.interop.onnx_export import check_out, export_onnx
    from imder.training.trained import TrainedModel

    check_out(options.out, options.force)
    model = TrainedModel.load(options.run, "cpu").model
    files = export_onnx(model, options.out, force=options.force)
    say(f"exported to {options.out}, equal to the model under onnxruntime: {', '.join(files)}")
    weights = model.recovery_weights()
    if any(weights.values()) and "fill.onnx" not in files:
        say("predict.onnx predicts without recovery: this kind of recovery isn't exported")
    elif any(weights.values()):
        say("predict.onnx predicts without recovery; for predictions with it, see examples/onnx_inference.py")
    return 0
