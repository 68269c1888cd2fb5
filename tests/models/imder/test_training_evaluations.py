"""Draws take fewer evaluations while a phase trains, where the configuration says so."""

import pytest

from imder.models.imder.config import RecoveryConfig
from imder.models.imder.token_recovery import TokenRecovery
from imder.models.registry import build
from imder.types import ImderError, Modality, Spec

SPEC = Spec((Modality("language", 3, 4), Modality("audio", 2, 4)))
SMALL = {
    "encoder": {"width": 8},
    "recovery": {"evaluations": 6, "training_evaluations": 2, "network": {"widths": [8], "heads": 1}},
    "refinement": {"channels": 4, "blocks": 1, "reduction": 2},
    "fusion": {"hidden": 8},
}


def test_a_phase_draws_with_its_own_number_of_evaluations():
    model = build("imder", SMALL, SPEC)
    assert model.recovery.evaluations == 6
    model.on_phase_start("recovery", [], 0)
    assert model.recovery.evaluations == 2
    model.on_phase_end("recovery", [], 0)
    assert model.recovery.evaluations == 6


def test_without_a_number_for_training_there_is_one_for_both():
    recovery = TokenRecovery({"audio": 4}, 8, RecoveryConfig(evaluations=5))
    recovery.in_training_phase = True
    assert recovery.evaluations == 5


def test_too_few_for_the_solver_are_refused():
    with pytest.raises(ImderError, match="got 0"):
        RecoveryConfig(evaluations=8, training_evaluations=0)
