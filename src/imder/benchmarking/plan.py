"""The plan of a benchmark: its cells and the settings that they share.

A *cell* of the grid is one training and its evaluation: (model, training rate, seed). The rate is None where one model
serves all rates. Masks of the evaluation depend on the corpus, the rate and `MASK_SEED` alone, never on the cell.

A plan can grow by models, seeds, rates and protocols, which leaves finished cells as they are. Any other change would
compare numbers that were made under different settings, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from imder.benchmarking.model_specs import file_name
from imder.benchmarking.same_settings import ADVICE, check_same_settings
from imder.evaluation.protocol import EvaluationProtocol
from imder.missingness.protocols import IndependentMissing, frame_protocols
from imder.models.nested import differences
from imder.training.config import RunConfig, with_defaults
from imder.types import ImderError

MASK_SEED = 0
"""Of the masks of every evaluation."""


@dataclass(frozen=True)
class GridCell:
    """One training and its evaluation.

    Attributes:
        model: its name in tables.
        rate: the missing rate that it is trained and evaluated for; None for all rates.
        seed: of the training and of the noise in recoveries.
        fold: which rotation over speakers or dialogues; None for the corpus' own splits.
    """

    model: str
    rate: float | None
    seed: int
    fold: int | None = None

    @property
    def name(self) -> str:
        """Its name in file names and messages.

        >>> GridCell("imder:mean", 0.3, 1).name, GridCell("mmin", None, 0, fold=2).name
        ('imder+mean-0.3-1', 'mmin-any-0-fold2')
        """
        rate = "any" if self.rate is None else f"{self.rate:g}"
        return f"{file_name(self.model)}-{rate}-{self.seed}{self._fold}"

    @property
    def run(self) -> str:
        """Its name in the ``run`` column: models of one seed for several rates are one run.

        Each rotation is a run of its own, so that deviations include the variation over test speakers (or dialogues).
        """
        return f"{file_name(self.model)}-{self.seed}{self._fold}"

    @property
    def _fold(self) -> str:
        return "" if self.fold is None else f"-fold{self.fold}"


@dataclass(frozen=True)
class GridSettings:
    """Settings that all cells of a benchmark share.

    Attributes:
        corpus: its name.
        fingerprint: of its samples and labels.
        draws: of the masks of each rate.
        per_rate: whether each rate has a model of its own.
        convention: of the metrics.
        official_batch_size: of the released schedule.
        folds: rotations over speakers, else dialogues; 0 for the corpus' own splits.
        training_protocol: whose masks the models for single rates are trained on; all models, if it erases frames.
        modality_rates: of the independent protocol, where each modality has a missing rate of its own.
    """

    corpus: str
    fingerprint: str
    draws: int
    per_rate: bool
    convention: str
    official_batch_size: int
    folds: int = 0
    training_protocol: str = "random"
    modality_rates: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Plan:
    """A grid.

    Attributes:
        shared: see `GridSettings`.
        models: for each model its complete configuration, as plain containers.
        seeds: how many.
        rates: missing rates.
        protocols: in the order of the tables.
    """

    shared: GridSettings
    models: Mapping[str, Mapping[str, Any]]
    seeds: int
    rates: tuple[float, ...]
    protocols: tuple[str, ...]

    def cells(self) -> list[GridCell]:
        """All cells, seed by seed, so that tables of few seeds are complete early."""
        rates = self.rates if self.shared.per_rate else (None,)
        folds = range(self.shared.folds) if self.shared.folds else (None,)
        return [GridCell(m, r, s, f) for s in range(self.seeds) for f in folds for m in self.models for r in rates]

    def rates_of(self, cell: GridCell) -> tuple[float, ...]:
        """The rates at which a cell is evaluated."""
        return self.rates if cell.rate is None else (cell.rate,)

    def config(self, cell: GridCell) -> RunConfig:
        """The training configuration of a cell: its model's, with the cell's seed and missing rate."""
        config = RunConfig.from_dict(self.models[cell.model])
        training = replace(config.training, seed=cell.seed)
        protocol = self.shared.training_protocol
        if protocol in frame_protocols():
            rate = training.missing_rate if cell.rate is None else cell.rate
            training = replace(training, protocol=protocol, missing_rate="any" if isinstance(rate, str) else rate)
        elif cell.rate is not None:
            masks: dict[str, Any] = {"missing_rate": protocol, "nominal_rate": cell.rate}
            training = replace(training, **({"missing_rate": cell.rate} if protocol == "random" else masks))
        return replace(config, training=training)

    def evaluation(self, protocol: str, rates: Sequence[float] | None = None) -> EvaluationProtocol:
        """The evaluation of every cell under a protocol, at ``rates`` or all of the plan's."""
        return EvaluationProtocol(
            protocol,
            rates=self.rates if rates is None else rates,
            draws=self.shared.draws,
            seed=MASK_SEED,
            official_batch_size=self.shared.official_batch_size,
            convention=self.shared.convention,
            missing=self._modality_rates if protocol == IndependentMissing.protocol else None,
        )

    @property
    def _modality_rates(self) -> IndependentMissing | None:
        named = self.shared.modality_rates
        return None if named is None else IndependentMissing(list(named.values()))

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        return asdict(self) | {
            "rates": list(self.rates),
            "protocols": list(self.protocols),
            "models": dict(self.models),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """The inverse of `to_dict`."""
        shared = GridSettings(**data["shared"])
        return cls(shared, data["models"], data["seeds"], tuple(data["rates"]), tuple(data["protocols"]))

    def merge(self, other: Plan, where: str) -> Plan:
        """The union of two plans; the order of this one comes first.

        Raises:
            ImderError: they differ in settings that must be the same.
        """
        check_same_settings(asdict(self.shared), asdict(other.shared), where)
        for name in self.models.keys() & other.models.keys():
            for key, old, new in differences(with_defaults(self.models[name]), other.models[name]):
                raise ImderError(f"{where}: was started with {name}'s {key} {old}, not {new}; {ADVICE}")
        return replace(
            self,
            models=dict(self.models) | dict(other.models),
            seeds=max(self.seeds, other.seeds),
            rates=tuple(sorted({*self.rates, *other.rates})),
            protocols=tuple(dict.fromkeys([*self.protocols, *other.protocols])),
        )
