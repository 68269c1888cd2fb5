"""Model cards, and models on the hub without a network."""

import pytest
import yaml

from command_line import imder_
from imder.models.base import Model
from imder.models.card import CardFacts, is_card, model_card
from imder.types import ImderError
from small_imder import small_model

FACTS = CardFacts(
    "/home/somebody/corpora/talks.pkl",
    {"train": 120, "valid": 30},
    {"language": 1.0, "audio": 0.5, "vision": 0.25},
    {"mae": 0.9, "acc2": 0.75},
    {"language": 0.1, "language:audio": 0.2},
    {"language": {"model": "/home/somebody/models/minilm", "dim": 6}, "audio": {"kind": "mel64"}},
    "en",
)


@pytest.fixture(scope="module")
def model():
    return small_model("fast")


def metadata(card):
    return yaml.safe_load(card.split("---")[1])


def test_a_card_says_what_the_model_is_and_what_it_is_not_for(model):
    card = model_card(model, FACTS)
    assert metadata(card)["library_name"] == "imder"
    assert metadata(card)["language"] == "en"
    assert is_card(card)
    for said in (
        "| audio | 3 | 1 | mel64 |",
        "| language | 6 | 7 | transformer (minilm) |",
        "`talks.pkl`: 120 train, 30 valid samples",
        "vision in 25 %",
        "| acc2 | 0.750 |",
        "explain (1: exact): language 0.10",
        "not calibrated",
        "lie detection",
        "consented",
    ):
        assert said in card
    assert "somebody" not in card


def test_a_card_without_its_training_says_so(model):
    card = model_card(model)
    assert "Unknown: the card was written without its training." in card
    assert "language" not in metadata(card)


def test_a_model_keeps_its_card_and_replaces_no_other_readme(model, tmp_path):
    model.card = model_card(model, FACTS)
    try:
        model.save_pretrained(tmp_path / "a")
    finally:
        model.card = None
    again = Model.from_pretrained(tmp_path / "a")
    again.save_pretrained(tmp_path / "b")
    assert (tmp_path / "b" / "README.md").read_text() == model_card(model, FACTS)
    (tmp_path / "b" / "README.md").write_text("# My notes\n")
    again.save_pretrained(tmp_path / "b")
    assert (tmp_path / "b" / "README.md").read_text() == "# My notes\n"


def test_a_push_lists_its_files_or_fails_in_one_line(model, tmp_path, monkeypatch, capsys):
    listed = dict(line.split("  ") for line in model.push_to_hub("me/talks", dry_run=True).splitlines())
    assert set(listed) == {"README.md", "config.json", "model.safetensors"}
    assert all(int(size) > 0 for size in listed.values())

    def offline(*args, **kwargs):
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", offline)
    with pytest.raises(ImderError, match=r"^me/talks: can't be uploaded to the hub \(no route to host\)$"):
        model.push_to_hub("me/talks")
    with pytest.raises(ImderError, match="is called owner/name"):
        model.push_to_hub("talks")
    model.save_pretrained(tmp_path / "a")
    assert imder_("push", tmp_path / "a", "me/talks", "--dry-run") == 0
    assert "nothing was uploaded to me/talks" in capsys.readouterr().out
    assert imder_("push", tmp_path / "a", "me/talks") == 2
    assert "no route to host" in capsys.readouterr().err
