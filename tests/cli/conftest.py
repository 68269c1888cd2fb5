"""Small corpora and trained runs that the tests of all commands share."""

import numpy as np
import pytest

from command_line import SMALL, imder_
from imder.data.store import write_store
from imder.synthetic.known_truth import KnownTruth


def write_npz(corpus, folder, *, labels=True, columns=None):
    """A folder of npz files; ``columns``: only the first so many features of each modality."""
    folder.mkdir()
    for name, split in corpus.splits.items():
        fields = {"id": np.array(split.ids)}
        for modality, ragged in split.features.items():
            padded = np.zeros((len(split), ragged.lengths.max(), ragged.dim), np.float32)
            for i in range(len(split)):
                padded[i, : ragged.lengths[i]] = ragged[i]
            fields[modality] = padded[:, :, :columns]
            fields[f"{modality}_lengths"] = ragged.lengths
        if labels:
            key = "regression_labels" if corpus.spec.task == "regression" else "classification_labels"
            fields[key] = split.labels
            if corpus.spec.classes:
                fields["label_names"] = np.array(corpus.spec.classes)
        np.savez(folder / f"{name}.npz", **fields)
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Corpora of both tasks, one without labels, one with fewer features, and one that lacks audio in places."""
    folder = tmp_path_factory.mktemp("cli")
    truth = KnownTruth.standard()
    corpus = truth.corpus(48, 16, 16)
    write_npz(corpus, folder / "corpus")
    write_npz(corpus, folder / "unlabelled", labels=False)
    write_npz(corpus, folder / "narrow", columns=5)
    write_store(truth.corpus(48, 16, 16, task="classification"), folder / "classes")
    with np.load(folder / "corpus" / "test.npz") as fields:
        present = np.arange(len(fields["id"])) % 2 == 0
        np.savez(folder / "lacking.npz", **fields, audio_present=present)
    return folder


@pytest.fixture(scope="session")
def run(folder):
    """A trained regression."""
    assert imder_("train", folder / "corpus", "--out", folder / "run", *SMALL) == 0
    return folder / "run"


@pytest.fixture(scope="session")
def classifier(folder):
    """A trained classifier."""
    assert imder_("train", folder / "classes", "--out", folder / "classifier", *SMALL) == 0
    return folder / "classifier"
