"""eGeMAPS: 25 descriptors of voice every 10 ms, by openSMILE, for research only.

The extended Geneva minimalistic acoustic parameter set (Eyben et al., IEEE TAC 2016), version 2, low-level descriptors,
at 16 kHz. openSMILE's licence allows research and personal use, not commercial use: it is an extra of its own
(`imder[egemaps]`). It processes the whole signal at once (230 MB for an hour); frames start every 160 samples.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.extract.extractor import sound_extractor
from imder.extract.media import Sound
from imder.extract.recipe import AudioRecipe
from imder.types import ImderError


def egemaps(sound: Sound, recipe: AudioRecipe) -> NDArray[np.float32]:
    """Descriptors of a sound, ``(T, 25)``.

    Raises:
        ImderError: opensmile isn't installed, or the sound can't be read.
    """
    smile = _smile()
    signal = np.concatenate([*sound.chunks()])
    if len(signal) < recipe.window:
        signal = np.pad(signal, (0, recipe.window - len(signal)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a short signal
        table = smile.process_signal(signal, recipe.rate)
    values: NDArray[np.float32] = table.to_numpy(dtype=np.float32)
    return values


def _smile() -> Any:
    try:
        import opensmile
    except ImportError as error:
        raise ImderError(
            f"--audio egemaps: {error}; pip install '.[egemaps]' (openSMILE is free for research only)"
        ) from None
    return opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.LowLevelDescriptors
    )


EGEMAPS = sound_extractor(AudioRecipe("egemaps", 16000, 160, 960, 25), egemaps, needs=("opensmile",), extra="egemaps")
