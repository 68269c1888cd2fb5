"""Options that several commands share, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from imder.cli.parser import listed, rates, whole
from imder.types import ImderError

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser
    from imder.data.corpus import Corpus
    from imder.data.formats.padding import Padding
    from imder.missingness.protocols import Missing

CORPUS = "feature file, folder of npz files, or store"
RATES = "missing rates, separated by commas (default: 0,0.1,...,0.7; 0,0.1,...,1 where frames are erased)"
RATE_EACH = "one for each modality: language=.1,vision=.6,audio=.3"


def add_corpus(parser: Parser, text: str = CORPUS) -> None:
    """The corpus, and how it is read."""
    parser.add_argument("corpus", help=text)
    parser.add_argument(
        "--task",
        choices=["regression", "classification", "none"],
        help="which labels to read, for a corpus that has both; none for no labels (preset imputer)",
    )
    add_drop_empty(parser)


def add_drop_empty(parser: Parser) -> None:
    """Whether samples without any modality are left out."""
    parser.add_argument("--drop-empty", action="store_true", help="leave out samples without any modality")


def add_padding(parser: Parser) -> None:
    """Which frames without lengths are padding."""
    parser.add_argument(
        "--padding",
        choices=["auto", "zeros", "none"],
        default="auto",
        help="frames without lengths that are padding: zeros at the ends of modalities with equally many frames (auto), "
        "of every modality (zeros), or none (default: auto)",
    )


def read_corpus(options: Namespace, padding: Padding = "auto", *, quiet: bool = False) -> Corpus:
    """The corpus of `add_corpus`; remarks on it are logged unless ``quiet``."""
    from imder.data.formats.load import load_corpus

    return load_corpus(options.corpus, task=options.task, drop_empty=options.drop_empty, padding=padding, quiet=quiet)


def add_threads(parser: Parser, usual: str = "one for each core", what: str = "CPU threads") -> None:
    """Number of CPU threads: ``--threads``, else OMP_NUM_THREADS, else what ``usual`` says."""
    parser.add_argument("--threads", type=whole(), help=f"{what} (default: OMP_NUM_THREADS, else {usual})")


def thread_count(options: Namespace, default: int = 0) -> int:
    """The number of `add_threads`; 0 leaves the choice to `imder.jobs.threads`."""
    from imder.jobs.threads import omp_threads

    return int(options.threads) if options.threads is not None else omp_threads() or default


def add_transcription(parser: Parser) -> None:
    """Speech to text for clips with sound and no text."""
    parser.add_argument(
        "--transcribe",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="speech to text for clips without a text (default: if faster-whisper is installed)",
    )
    parser.add_argument(
        "--asr-model", help="Whisper: tiny.en, base, ... or folder (default: $IMDER_ASR_MODEL, else base)"
    )
    parser.add_argument("--asr-language", help="language spoken, such as en (default: detected in each clip)")


def add_seed(parser: Parser, text: str = "seed of all random numbers") -> None:
    """The seed."""
    parser.add_argument("--seed", type=whole(), default=0, help=text)


def add_device(parser: Parser) -> None:
    """Where a trained model computes."""
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, ... (default: auto)")


def add_accelerator(parser: Parser) -> None:
    """Where trainings run."""
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        default="auto",
        help="auto is a GPU if there is one (default: auto)",
    )


def add_backend(parser: Parser, what: str, threads: str) -> None:
    """How work is shared by processes, and the usual ``threads`` of each."""
    parser.add_argument("--jobs", type=whole(1), default=1, help=f"{what} at once")
    parser.add_argument(
        "--backend",
        choices=["loky", "ray", "dask"],
        default="loky",
        help="how jobs are distributed (default: loky, on this machine)",
    )
    parser.add_argument("--address", help="address of a running Ray or Dask cluster (default: start one here)")
    add_threads(parser, threads, "CPU threads of each job")


def add_protocol(parser: Parser, default: str | None, text: str) -> None:
    """A missing-modality protocol by name."""
    from imder.missingness.protocols import evaluation_protocols

    parser.add_argument("--protocol", choices=[*evaluation_protocols()], default=default, help=text)


def add_metrics(parser: Parser) -> None:
    """The convention of metrics."""
    from imder.metrics import CONVENTIONS

    parser.add_argument("--metrics", choices=[*CONVENTIONS], help="metric convention (default: by the labels)")


def add_available(parser: Parser) -> None:
    """What the model may use of a corpus."""
    parser.add_argument(
        "--available", type=listed, help="modalities that may be used, such as language,audio (default: all present)"
    )
    add_protocol(parser, None, "drop modalities by this protocol, with --rates and --seed (default: none are dropped)")
    parser.add_argument(
        "--rates",
        type=rates,
        metavar="RATE",
        help="the one missing rate of --protocol, such as 0.3; for independent also one for each modality, as in evaluate",
    )


def available(options: Namespace, names: Sequence[str]) -> Sequence[str] | Missing | None:
    """What `add_available` says, for a model of the modalities ``names``.

    Raises:
        ImderError: options that exclude each other, or a protocol without its rate.
    """
    if options.protocol is None:
        if options.rates is not None:
            raise ImderError("--rates is the missing rate of a protocol: give --protocol too")
        return options.available or None
    if options.available is not None:
        raise ImderError("--available and --protocol both say what is missing; leave one out")
    from imder.missingness.protocols import protocol_named

    if isinstance(options.rates, dict):
        return independent(options.protocol, options.rates, names)
    protocol = protocol_named(options.protocol)
    if protocol.has_rates and (options.rates is None or len(options.rates) != 1):
        raise ImderError(f"--protocol {options.protocol}: give one missing rate with --rates")
    check_has_rates(options)
    if protocol.settings is None or len(settings := protocol.settings(names, options.rates or (), 32)) != 1:
        raise ImderError(f"--protocol {options.protocol} has several subsets; say one with --available")
    return settings[0].missing


def check_has_rates(options: Namespace) -> None:
    """Raise `ImderError` for ``--rates`` or ``--official-batch-size`` of a protocol that has none."""
    from imder.missingness.protocols import protocol_named

    if options.rates is not None and not protocol_named(options.protocol).has_rates:
        raise ImderError(f"--protocol {options.protocol} has no missing rates; leave out --rates")
    if options.get("official_batch_size", 32) != 32 and options.protocol != "official":
        raise ImderError(f"--official-batch-size is for --protocol official, not {options.protocol}; leave it out")


def independent(protocol: str, named: Mapping[str, float], names: Sequence[str]) -> Missing:
    """The independent protocol with a rate for each modality.

    Raises:
        ImderError: another protocol, an unknown modality, one without a rate, or a rate outside [0, 1].
    """
    from imder.missingness.protocols import IndependentMissing

    if protocol != IndependentMissing.protocol:
        raise ImderError(f"--rates: rates for single modalities are for --protocol independent, not for {protocol}")
    return IndependentMissing.by_name(named, names)


def add_run(parser: Parser) -> None:
    """A trained model."""
    parser.add_argument("run", help="run directory, or a model's folder or hub id")


def add_prediction(parser: Parser, *, samples: int | None, split: str | None) -> None:
    """Which samples are predicted, from how many recoveries, and where; with defaults for both."""
    recoveries = "the preset's" if samples is None else samples
    parser.add_argument("--split", default=split, help=f"split (default: {split or 'test, or the only one'})")
    parser.add_argument(
        "--samples", type=whole(1), default=samples, help=f"recoveries per prediction (default: {recoveries})"
    )
    add_seed(parser)
    parser.add_argument("--batch-size", type=whole(1), default=64, help="samples predicted at once")
    add_drop_empty(parser)
    add_device(parser)
    add_threads(parser)
