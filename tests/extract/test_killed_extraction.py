"""An extraction that was killed before its first file was complete."""

import pytest

from imder.extract.folder import ExtractionFolder
from imder.extract.recipe import Recipe
from imder.types import ImderError


def test_a_folder_whose_marker_was_being_written_is_continued(tmp_path):
    folder = ExtractionFolder(tmp_path / "out")
    folder.path.mkdir()
    (folder.path / ".recipe.json.0-1-2-3.part").touch()
    (folder.path / "lock").touch()
    folder.open(Recipe())
    assert (folder.path / "recipe.json").exists()


def test_a_folder_with_other_files_is_refused(tmp_path):
    folder = ExtractionFolder(tmp_path / "out")
    folder.path.mkdir()
    (folder.path / "notes.txt").touch()
    with pytest.raises(ImderError, match="is not the folder of an extraction"):
        folder.open(Recipe())
