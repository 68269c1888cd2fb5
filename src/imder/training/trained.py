"""A trained system for use: the model, the name that messages call it by, and how its features were made.

Functions that use a trained system take a model or a run, and a corpus or its path; both are resolved here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from imder.data.compatible import check_recipe
from imder.data.corpus import Corpus
from imder.data.formats.load import NEEDED, load_for
from imder.models.base import Model
from imder.training.run import RunDirectory
from imder.types import ImderError


@dataclass(frozen=True)
class TrainedModel:
    """A trained system and what is known of its training corpus.

    Attributes:
        model: the system, in evaluation mode.
        name: what messages call it.
        recipe: how the features of its training corpus were made (`imder.data.corpus.Corpus.recipe`); empty where that
            corpus didn't say, None where nothing is known of it.
    """

    model: Model
    name: str
    recipe: Mapping[str, Any] | None = None

    @classmethod
    def load(
        cls, model: Model | str | Path, device: torch.device | str | None = None, *, name: str | None = None
    ) -> TrainedModel:
        """Resolve a model, the folder of a run, or a hub id.

        Args:
            model: a `Model`, the folder that ``train`` wrote or `Model.save_pretrained` wrote, or a hub id.
            device: where to compute, ``"auto"`` for the GPU if there is one. None leaves a `Model` where it is and means
                ``"auto"`` for anything else.
            name: what messages call it; by default the path, or ``this <system> model``.

        Raises:
            ImderError: there is no such model or device, or the run's training has not finished.
        """
        if isinstance(model, Model):
            resolved, name, recipe = model, name or f"this {model.system} model", None
            device = resolved.device if device is None else device
        elif isinstance(model, str | Path):
            run = RunDirectory(model)
            if (run.path / "config.yaml").exists() and not run.finished():
                raise ImderError(
                    f"{model}: training has not finished; go on with imder.train(corpus, {str(model)!r}, resume=True) "
                    f"or: imder train CORPUS --resume {model}"
                )
            if (run.path / "benchmark.json").is_file():
                raise ImderError(f"{model}: is a benchmark; its trained models are the folders in {run.path / 'runs'}")
            if run.path.is_dir() and not (run.path / "config.json").exists():
                raise ImderError(f"{model}: is no run and no model: it has no config.yaml and no config.json")
            resolved, name, recipe = Model.from_pretrained(model), name or str(model), run.recipe()
        else:
            raise ImderError(f"a model or the folder of a run is needed, got {type(model).__name__}")
        if device is None or device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            return cls(resolved.to(device).eval(), name, recipe)
        except (RuntimeError, AssertionError) as error:
            raise ImderError(f"device {str(device)!r}: {str(error).splitlines()[0]}") from None

    def read(self, data: Corpus | str | Path, *, drop_empty: bool = False) -> Corpus:
        """A corpus for this system: loaded as its spec demands, or an object checked against its recipe.

        Args:
            data: a `Corpus`, or the path of one.
            drop_empty: leave out samples without any modality instead of raising; for a path.

        Raises:
            ImderError: it can't be read, doesn't fit the model, or its features follow another recipe.
        """
        if isinstance(data, Corpus):
            check_recipe(self.recipe, data, self.name)
            return data
        if isinstance(data, str | Path):
            ids = self.model.language is not None
            return load_for(self.model.spec, self.recipe, self.name, data, drop_empty=drop_empty, token_ids=ids)
        raise ImderError(f"{NEEDED}, got {type(data).__name__}; see imder.Corpus.from_arrays")
