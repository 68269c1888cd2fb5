"""Google's face models, run by LiteRT.

The file ``face_landmarker.task`` is a zip archive of three networks (TensorFlow Lite) and a canonical face. LiteRT
(``ai-edge-litert``) runs them as they are; onnxruntime needs a conversion first and takes twice the time. Both have wheels for
Linux (x86-64, arm64), macOS (arm64) and Windows (x86-64) and Python 3.11 to 3.14; neither has them for macOS on Intel, and only
onnxruntime for Windows on arm64.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.extract.face.canonical import CanonicalFace, read_canonical
from imder.types import ImderError

Values = NDArray[np.float32]

DETECTOR = "face_detector.tflite"
MESH = "face_landmarks_detector.tflite"
BLENDSHAPES = "face_blendshapes.tflite"
CANONICAL = "geometry_pipeline_metadata_landmarks.binarypb"


class Network:
    """A network with one input. Threads that share it take turns: its input and outputs lie in memory of its own.

    Args:
        content: the model, as in a ``.tflite`` file.

    Raises:
        ValueError: the content is no such model.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._turn = Lock()
        self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]

    def __call__(self, values: Values) -> list[Values]:
        """The outputs, flat, largest first and otherwise in the model's order."""
        with self._turn:
            self._interpreter.set_tensor(self._input, values)
            self._interpreter.invoke()
            outputs = [self._interpreter.get_tensor(index).reshape(-1) for index in self._outputs]
        return sorted(outputs, key=len, reverse=True)


@dataclass(frozen=True)
class Bundle:
    """The contents of ``face_landmarker.task``.

    Attributes:
        detector: images ``(1, 128, 128, 3)`` in [-1, 1] -> boxes and key points (896 * 16), logits (896).
        mesh: images ``(1, 256, 256, 3)`` in [0, 1] -> landmarks (478 * 3, in pixels of the image), logits (1 each).
        blendshapes: 146 landmarks ``(1, 146, 2)`` -> 52 values in [0, 1].
        canonical: the canonical face and the weights of its landmarks.
    """

    detector: Network
    mesh: Network
    blendshapes: Network
    canonical: CanonicalFace


def load_bundle(path: Path) -> Bundle:
    """Load the models.

    Raises:
        ImderError: the file can't be read, or isn't ``face_landmarker.task``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            detector, mesh, blendshapes = (Network(archive.read(name)) for name in (DETECTOR, MESH, BLENDSHAPES))
            return Bundle(detector, mesh, blendshapes, read_canonical(archive.read(CANONICAL)))
    except OSError as error:
        raise ImderError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ImderError(f"{path}: is not face_landmarker.task with its three models ({reason})") from None
