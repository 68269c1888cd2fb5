"""Systems are found by name: those of the package, and those of other packages by their entry points."""

import ast
import inspect
import subprocess
import sys

import pytest

from imder.models import registry
from imder.models.base import Model
from imder.models.presets import preset_names
from imder.models.registry import SYSTEMS, build, system_class, system_names, system_note
from imder.types import ImderError, Modality, Spec

SPEC = Spec((Modality("language", 3, 4), Modality("audio", 2, 4)))

OUTSIDE = """
from dataclasses import dataclass

import torch

from imder.models.deterministic import DeterministicModel


@dataclass(frozen=True)
class ZeroConfig:
    value: float = 0.0


class Zero(DeterministicModel):
    system = "zero"
    config_type = ZeroConfig
    note = "always predicts one value"

    def losses(self, batch, phase, seed, *, all_subsets=False):
        return {}

    def predict_batch(self, batch):
        return torch.full((len(batch),), self.config.value)
"""


def install(folder, package, entry_points, source=OUTSIDE):
    """A package as an installer leaves it: a module, and metadata with entry points."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{package}.py").write_text(source)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{registry.GROUP}]\n" + "".join(f"{name} = {path}\n" for name, path in entry_points.items())
    )


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder on the path into which packages are installed; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def _fresh():
    registry._external.cache_clear()
    yield
    registry._external.cache_clear()


@pytest.mark.parametrize("name", SYSTEMS)
def test_built_in_systems_are_named_as_they_are_listed(name):
    kind = system_class(name)
    assert issubclass(kind, Model)
    assert kind.system == name
    config = kind.config_type()
    assert set(kind.phases(config)) <= set(kind.phase_names)
    assert kind.label_free <= set(kind.phase_names)
    assert not inspect.isabstract(kind)


def test_the_registry_imports_no_system():
    imports = (
        "import sys, imder.models.registry as r; r.system_names();"
        "print([m for m in sys.modules if m.startswith('imder.models.baselines')"
        " or m.startswith('imder.models.imder') or m == 'imder.models.base'])"
    )
    found = subprocess.run([sys.executable, "-c", imports], capture_output=True, text=True, check=True)
    assert ast.literal_eval(found.stdout) == []


def test_an_unknown_name_lists_the_systems():
    with pytest.raises(ImderError, match=r"no system 'imde'; choose from imder, mmin, zero-fill"):
        system_class("imde")
    assert system_note("imde") == ""


def test_a_package_adds_a_system(outside):
    install(outside, "zeros", {"zero": "zeros:Zero"})
    assert system_names() == [*SYSTEMS, "zero"]
    assert "zero" in preset_names()
    assert system_note("zero") == "always predicts one value"
    model = build("zero", {"value": 0.5}, SPEC)
    assert model.config.value == 0.5
    model.save_pretrained(outside / "saved")
    assert type(Model.from_pretrained(outside / "saved")) is type(model)
    with pytest.raises(ImderError, match=r"unknown key model\.size"):
        build("zero", {"size": 1}, SPEC)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("broken:Zero", "package broken: its system 'zero' cannot be imported (No module named 'nowhere')"),
        ("broken:Other", "package broken: its system 'zero' cannot be imported"),
    ],
)
def test_a_package_that_cannot_be_imported_is_named_when_its_system_is_asked_for(path, message, outside):
    install(outside, "broken", {"zero": path}, "import nowhere" if path == "broken:Zero" else "")
    assert "zero" in system_names()
    assert system_class("imder").system == "imder"
    with pytest.raises(ImderError) as error:
        system_class("zero")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_an_entry_point_must_name_a_system_of_its_name(outside):
    install(outside, "zeros", {"nought": "zeros:Zero", "config": "zeros:ZeroConfig"})
    for name in ("nought", "config"):
        with pytest.raises(ImderError, match=f"package zeros.*not a subclass of imder.Model with system = '{name}'"):
            system_class(name)


def test_names_must_not_clash(outside):
    install(outside / "a", "first", {"zero": "first:Zero", "late-fusion": "first:Zero"})
    install(outside / "b", "second", {"zero": "second:Zero"})
    sys.path[:0] = [str(outside / "a"), str(outside / "b")]
    try:
        with pytest.raises(ImderError, match="package first has a system 'late-fusion', which is built in"):
            system_class("late-fusion")
        with pytest.raises(ImderError, match=r"package first and package second both have a system 'zero'"):
            system_class("zero")
        assert system_class("imder").system == "imder"
    finally:
        del sys.path[:2]
