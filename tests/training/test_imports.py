"""What a cold `Predictor` imports: nothing that only training, plots, baselines or downloads need."""

import subprocess
import sys

from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig
from imder.training.train import train

CODE = """
import sys, imder
imder.Predictor(sys.argv[1])
heavy = ("lightning", "sklearn", "matplotlib", "huggingface_hub", "scipy", "transformers", "tensorboard", "pandas")
print([name for name in heavy if name in sys.modules])
"""


def test_a_predictor_imports_neither_lightning_nor_scikit_learn(tmp_path):
    run = tmp_path / "run"
    train(KnownTruth.standard().corpus(24, 16, 8), run, max_epochs=1, engine=EngineConfig(accelerator="cpu"))
    found = subprocess.run([sys.executable, "-c", CODE, str(run)], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
