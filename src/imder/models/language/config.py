"""Settings of the transformer that computes language features from token ids."""

from __future__ import annotations

from dataclasses import dataclass

from imder.types import ImderError

OPTION = "--language-encoder"
RATE = 1e-4


@dataclass(frozen=True)
class LanguageEncoderConfig:
    """Settings of the transformer that is trained together with encoders and fusion, in stage 1.

    Attributes:
        name: its folder, or its name on the hub; without it the corpus' own language features are used.
        learning_rate: learning rate of the transformer (the authors of IMDer advise 1e-4); 0: it is used without training.
        frozen_layers: lowest layers that, with the embeddings, aren't trained; 0 trains everything.
    """

    name: str | None = None
    learning_rate: float = RATE
    frozen_layers: int = 0

    def __post_init__(self) -> None:
        if self.name == "":
            raise ImderError(f"{OPTION}: give a folder or a name")
        if self.learning_rate < 0 or self.frozen_layers < 0:
            raise ImderError("training.language_encoder: learning_rate and frozen_layers must not be negative")
        if self.name is None and (self.learning_rate, self.frozen_layers) != (RATE, 0):
            raise ImderError(f"training.language_encoder is set without a transformer; add {OPTION}")
