"""What can be asked on the command line: commands, options, defaults and what help says of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from jsonargparse import ArgumentParser, DefaultHelpFormatter
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

DEFAULT_RATES = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7"
_CORPUS = "feature file, folder of npz files, or store"
_DROP = "leave out samples without any modality"


def make_parser(argv: Sequence[str]) -> ArgumentParser:
    """All commands and options; ``argv`` decides which configuration keys `imder train` has (`_preset_of`)."""
    parser = ArgumentParser(
        prog="imder",
        exit_on_error=False,
        formatter_class=_Help,
        description="Emotion recognition from language, vision and audio when some of them are missing.",
        version=_version(),
    )
    commands = parser.add_subcommands(required=True, dest="command")
    commands.add_subcommand("train", _train(_preset_of(argv)), help="train a system on a corpus")
    commands.add_subcommand("evaluate", _evaluate(), help="table of a trained model under a missing-modality protocol")
    commands.add_subcommand(
        "predict", _predict(), help="predictions with their uncertainty: of a corpus, clips or a recording"
    )
    commands.add_subcommand("recover", _recover(), help="encodings of the missing modalities, sampled and refined")
    commands.add_subcommand("benchmark", _benchmark(), help="compare systems: a resumable grid of models and seeds")
    commands.add_subcommand("tune", _tune(), help="search a preset's learning rate, decay, dropouts and width")
    commands.add_subcommand("extract", _extract(), help="features from videos, sound, transcripts and OpenFace tables")
    commands.add_subcommand("demo", _demo(), help="train and evaluate on a corpus whose exact answers are known")
    data = _new()
    commands.add_subcommand("data", data, help="inspect a corpus, or convert it to the store format")
    _data(data)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return version("imder")


class _Help(DefaultHelpFormatter):
    """Says a default once, and none where there is nothing to say; types only of keys without a description."""

    def _get_help_string(self, action: argparse.Action) -> str:
        said = action.help or ""
        if not said or isinstance(action, argparse._HelpAction):
            return str(super()._get_help_string(action))
        if "default" in said or action.default in (None, False, argparse.SUPPRESS):
            return said
        return f"{said} (default: %(default)s)"


def _new() -> ArgumentParser:
    return ArgumentParser(exit_on_error=False, formatter_class=_Help)


def _threads(parser: ArgumentParser) -> None:
    parser.add_argument("--threads", type=NonNegativeInt, default=0, help="CPU threads (default: all)")


def _reading(parser: ArgumentParser) -> None:
    parser.add_argument("--task", choices=["regression", "classification"], help="where the corpus has labels for both")
    parser.add_argument("--drop-empty", action="store_true", help=_DROP)


def _train(preset: str | None) -> ArgumentParser:
    parser = _new()
    parser.add_argument("corpus", help=_CORPUS)
    parser.add_argument("--out", help="run directory to make")
    parser.add_argument("--preset", default="fast", help="see `presets` in the README (default: fast)")
    parser.add_argument("--config", help="YAML file over the preset; a run's config.yaml will do")
    parser.add_argument("--resume", help="run directory to go on with")
    parser.add_argument("--stage1", help="run whose stage 1 is used")
    parser.add_argument("--missing-rate", help="any, official or a number (default: the preset's)")
    parser.add_argument(
        "--recovery",
        help="what stands for what is missing: conditional, unconditional, mean, regression, train-mean or zero "
        "(default: the preset's)",
    )
    parser.add_argument("--language-encoder", help="transformer (folder or name) to tune in stage 1, on token ids")
    parser.add_argument("--seed", type=NonNegativeInt, help="of everything random (default: 0)")
    parser.add_argument("--max-epochs", type=int, help="no phase runs longer")
    _reading(parser)
    _threads(parser)
    if preset is not None:
        from imder.models.presets import read_preset
        from imder.models.registry import system_class
        from imder.training.config import EngineConfig, training_config_type

        system = system_class(read_preset(preset)["system"])
        parser.add_argument("--model", type=system.config_type)
        parser.add_argument("--training", type=training_config_type(system.phase_names))
        parser.add_argument("--engine", type=EngineConfig, default=EngineConfig())
    return parser


def _use(parser: ArgumentParser, samples: int | None, split: str | None, *, media: bool = False) -> None:
    parser.add_argument("run", help="run directory, or a model's folder or hub id")
    if media:
        parser.add_argument("corpus", nargs="?", help="corpus, manifest of clips, or folder of media")
    else:
        parser.add_argument("corpus", help=_CORPUS)
    parser.add_argument("--split", default=split, help=f"default: {split or 'test, or the only one'}")
    usual = "the preset's" if samples is None else samples
    parser.add_argument("--samples", type=int, default=samples, help=f"recoveries of each sample (default: {usual})")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of everything random (default: 0)")
    parser.add_argument("--batch-size", type=PositiveInt, default=64, help="samples at once")
    parser.add_argument("--drop-empty", action="store_true", help=_DROP)
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, ... (default: auto)")
    _threads(parser)


def _evaluate() -> ArgumentParser:
    parser = _new()
    _use(parser, None, "test")
    parser.add_argument(
        "--protocol", choices=["random", "fixed", "natural", "official"], default="random", help="which masks"
    )
    parser.add_argument("--rates", default=DEFAULT_RATES, help="missing rates, separated by commas")
    parser.add_argument("--draws", type=int, default=10, help="mask draws for each rate")
    parser.add_argument("--official-batch-size", type=int, default=32, help="of the released schedule (default: 32)")
    parser.add_argument("--metrics", choices=["mosi", "sims", "classification"], help="convention (default: by labels)")
    parser.add_argument("--out", help="CSV of all results")
    return parser


def _predict() -> ArgumentParser:
    from imder.cli.media_options import media_options

    parser = _new()
    _use(parser, None, None, media=True)
    media_options(parser)
    parser.add_argument("--level", type=float, default=0.9, help="how often intervals or sets hold the label")
    parser.add_argument("--out", help="CSV to write; a single clip needs none")
    return parser


def _recover() -> ArgumentParser:
    parser = _new()
    _use(parser, 1, None)
    parser.add_argument("--out", required=True, help="store to write")
    return parser


def _data(parser: ArgumentParser) -> None:
    commands = parser.add_subcommands(required=True, dest="action")
    inspect = _new()
    inspect.add_argument("corpus", help=_CORPUS)
    inspect.add_argument("--json", action="store_true", help="as JSON")
    convert = _new()
    convert.add_argument("corpus", help=_CORPUS)
    convert.add_argument("out", help="store to write")
    convert.add_argument("--dtype", choices=["float32", "float16"], default="float32", help="of the stored features")
    convert.add_argument("--by-speaker", metavar="NAMES", help="modalities to standardise by speaker, as audio,vision")
    for each in (inspect, convert):
        _reading(each)
    commands.add_subcommand("inspect", inspect, help="sizes, lengths, labels, presence, oddities")
    commands.add_subcommand("convert", convert, help="write a store: ragged, memory-mapped, no pickles")


def _demo() -> ArgumentParser:
    parser = _new()
    parser.add_argument("--out", default="demo", help="folder for the run, results.csv and the plot (default: demo)")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of everything random (default: 0)")
    _threads(parser)
    return parser


def _benchmark() -> ArgumentParser:
    parser = _new()
    parser.add_argument("corpus", help=_CORPUS)
    parser.add_argument(
        "--out", default="benchmark", help="folder; the same again goes on with it (default: benchmark)"
    )
    parser.add_argument("--models", help="presets, variants such as imder:mean, or YAML files, separated by commas")
    parser.add_argument("--tuned", metavar="NAME", help="settings tuned for this corpus, where a model has them")
    parser.add_argument("--table", type=int, choices=[2, 3], help="models and protocols of the paper's table")
    parser.add_argument("--protocols", help="of random, fixed, natural, official (default: random,fixed)")
    parser.add_argument("--rates", default=DEFAULT_RATES, help="missing rates, separated by commas")
    parser.add_argument("--seeds", type=PositiveInt, default=3, help="trainings of each model (default: 3)")
    parser.add_argument("--draws", type=PositiveInt, default=10, help="mask draws for each rate (default: 10)")
    parser.add_argument("--per-rate", action="store_true", help="a model for each rate instead of one for all")
    parser.add_argument("--label-share", type=float, default=1.0, help="of the training labels used (default: all)")
    parser.add_argument("--folds", type=NonNegativeInt, default=0, help="rotations over speakers (default: own splits)")
    parser.add_argument("--max-epochs", type=PositiveInt, help="no phase runs longer")
    parser.add_argument("--metrics", choices=["mosi", "sims", "classification"], help="convention (default: by labels)")
    parser.add_argument("--official-batch-size", type=PositiveInt, default=32, help="of the released schedule")
    parser.add_argument("--resamples", type=PositiveInt, default=1000, help="of the bootstrap (default: 1000)")
    parser.add_argument("--jobs", type=PositiveInt, default=1, help="trainings at once (default: 1)")
    parser.add_argument("--backend", choices=["loky", "ray", "dask"], default="loky", help="of joblib (default: loky)")
    parser.add_argument("--address", help="of a running Ray or Dask cluster (default: start one here)")
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: a GPU if there is one"
    )
    parser.add_argument(
        "--threads", type=NonNegativeInt, default=0, help="CPU threads of each job (default: its share)"
    )
    _reading(parser)
    return parser


def _extract() -> ArgumentParser:
    from imder.cli.media_options import extract_options

    parser = _new()
    extract_options(parser)
    return parser


def _tune() -> ArgumentParser:
    parser = _new()
    parser.add_argument("model", help="a preset that has a search space; imder is the preset fast")
    parser.add_argument("corpus", help="feature file, folder of npz files, or store; its test split isn't looked at")
    parser.add_argument("--out", default="tune", help="folder; the same again goes on with it (default: tune)")
    parser.add_argument("--trials", type=PositiveInt, help="in all (default: 30, unless --minutes is given)")
    parser.add_argument("--minutes", type=PositiveFloat, help="no trial begins later")
    parser.add_argument("--storage", help="URL of an Optuna storage, shared by processes (default: a file in --out)")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of training and search (default: 0)")
    parser.add_argument("--max-epochs", type=PositiveInt, help="no phase runs longer")
    _reading(parser)
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: a GPU if there is one"
    )
    _threads(parser)
    return parser


def _preset_of(argv: Sequence[str]) -> str | None:
    """The preset that `imder train` is asked for: it decides which keys exist. None for other commands."""
    if not argv or argv[0] != "train":
        return None
    import yaml

    given = {}
    for name in ("preset", "config", "resume"):
        for i, word in enumerate(argv):
            if word == f"--{name}" and i + 1 < len(argv):
                given[name] = argv[i + 1]
            elif word.startswith(f"--{name}="):
                given[name] = word.split("=", 1)[1]
    path = given.get("config") or (os.path.join(given["resume"], "config.yaml") if "resume" in given else None)
    if path and os.path.isfile(path):
        try:
            with open(path, encoding="utf-8") as file:
                content = yaml.safe_load(file)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            content = None  # said properly when the file is read for its contents
        if isinstance(content, dict) and content.get("preset"):
            return str(content["preset"])
    return given.get("preset", "fast")
