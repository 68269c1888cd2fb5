r"""Weights of the official MMIN code, loaded into `imder.models.baselines.mmin.MMIN`.

Official names and ours; X is A, L or V and M audio, language or vision:

    netX.rnn.*                              encoders.M.reader.rnn.*                   LSTM (A, V)
    netL.conv1, conv2, conv3                encoders.language.reader.convs.0, 1, 2    text CNN (see below)
    netL.embd.0                             encoders.language.head.1
    netAE, netAE_cycle                      forwards, backwards                       cascades:
        .encoder_B, .decoder_B, .transition     .encoders.B, .decoders.B, .transition
    netC.module.*, netC.fc_out              head.hidden.*, head.out
    pretrained_encoder.netX, .netC          teacher.encoders.M, teacher.head          stage 1's network

The text CNN's weights (O, 1, k, D) are (O, D, k) here. Weights without ``netAE_cycle`` are of the variant whose cascade
is shared. ``pretrained_encoder.netC`` may be absent: the official stage 2 does not use stage 1's head, nor do predictions here.
The encodings are concatenated in the order audio, language, vision.

The official code writes one file for each network, ``<epoch>_net_X.pth``, into a folder for each stage; such folders
can be passed directly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from imder.interop.official_imder import check_shapes, listing, read_state_dict
from imder.models.baselines.mmin import MMIN, CascadeConfig, MMINConfig
from imder.models.parts.utterance_encoder import UtteranceEncoderConfig
from imder.types import ImderError, Modality, Spec

LETTERS = {"A": "audio", "L": "language", "V": "vision"}
TEACHER = "pretrained_encoder."

_OFFICIAL = MMINConfig(UtteranceEncoderConfig(standardize=False))
_Names = Iterator[tuple[str, str]]


def _both(theirs: str, ours: str) -> _Names:
    yield f"{theirs}.weight", f"{ours}.weight"
    yield f"{theirs}.bias", f"{ours}.bias"


def _encoder_names(theirs: str, ours: str) -> _Names:
    for letter, name in LETTERS.items():
        a, b = f"{theirs}net{letter}", f"{ours}encoders.{name}"
        if letter != "L":
            for part in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
                yield f"{a}.rnn.{part}", f"{b}.reader.rnn.{part}"
            continue
        for i in range(len(_OFFICIAL.encoder.kernels)):
            yield from _both(f"{a}.conv{i + 1}", f"{b}.reader.convs.{i}")
        yield from _both(f"{a}.embd.0", f"{b}.head.1")


def _cascade_names(theirs: str, ours: str) -> _Names:
    for block in range(_OFFICIAL.cascade.blocks):
        for part in ("encoder", "decoder"):
            for layer in range(len(_OFFICIAL.cascade.layers)):
                yield from _both(f"{theirs}.{part}_{block}.{2 * layer}", f"{ours}.{part}s.{block}.{2 * layer}")
    for layer in (0, 2):
        yield from _both(f"{theirs}.transition.{layer}", f"{ours}.transition.{layer}")


def _head_names(theirs: str, ours: str) -> _Names:
    for layer in range(len(_OFFICIAL.head)):
        yield from _both(f"{theirs}.module.{3 * layer}", f"{ours}.hidden.{3 * layer}")
    yield from _both(f"{theirs}.fc_out", f"{ours}.out")


def official_mmin_names(shared: bool = False, teacher_head: bool = False) -> dict[str, str]:
    """Every official parameter name -> ours.

    Args:
        shared: whether the two cascades are one.
        teacher_head: whether stage 1's head is included.

    >>> official_mmin_names()["netAE_cycle.decoder_4.2.bias"]
    'backwards.decoders.4.2.bias'
    """
    names = dict(_encoder_names("", ""))
    names.update(_encoder_names(TEACHER, "teacher."))
    names.update(_cascade_names("netAE", "forwards"))
    if not shared:
        names.update(_cascade_names("netAE_cycle", "backwards"))
    names.update(_head_names("netC", "head"))
    if teacher_head:
        names.update(_head_names(f"{TEACHER}netC", "teacher.head"))
    return names


def read_networks(folder: str | Path) -> dict[str, Tensor]:
    """A folder of the official code's checkpoints as one state dictionary: ``60_net_A.pth`` gives ``netA.*``.

    Raises:
        ImderError: there are no such files, two of one network, or one can't be read (`read_state_dict`).
    """
    state: dict[str, Tensor] = {}
    networks: dict[str, Path] = {}
    for path in sorted(Path(folder).glob("*_net_*.pth")):
        network = path.stem.partition("_net_")[2]
        if network in networks:
            raise ImderError(f"{folder}: two files of one network, {networks[network].name} and {path.name}")
        networks[network] = path
        state |= {f"net{network}.{name}": value for name, value in read_state_dict(path).items()}
    if not networks:
        raise ImderError(f"{folder}: no checkpoints (<epoch>_net_<network>.pth) in this folder")
    return state


def load_official_mmin(
    weights: Mapping[str, Tensor] | str | Path,
    teacher: Mapping[str, Tensor] | str | Path | None = None,
    *,
    frames: int = 50,
    classes: Sequence[str] = (),
) -> MMIN:
    """The official network with official weights, ready to predict.

    Its spec: audio, language and vision with the dimensions that the weights have; classification where the head has
    several outputs.

    Args:
        weights: a state dictionary under the official names, a file that holds one (`read_state_dict`), or a folder of
            checkpoints (`read_networks`).
        teacher: the same for stage 1's network, names without ``pretrained_encoder.``; None if ``weights`` holds it.
        frames: over how many frames a missing modality is zeros; at least 2. In the official code that is the padded
            length of each batch.
        classes: names of the outputs, in order; none for ``0``, ``1``, ...

    Raises:
        ImderError: not such weights, or not as many classes as outputs.
    """
    if frames < 2:
        raise ImderError(f"the official network reads sequences: frames must be at least 2, got {frames}")
    state = _read(weights)
    if teacher is not None:
        state |= {f"{TEACHER}{name}": value for name, value in _read(teacher).items()}
    try:
        return _load(state, frames, tuple(classes))
    except ImderError as error:
        raise error if isinstance(weights, Mapping) else ImderError(f"{weights}: {error}") from None


def _read(weights: Mapping[str, Tensor] | str | Path) -> dict[str, Tensor]:
    if isinstance(weights, Mapping):
        return dict(weights)
    return read_networks(weights) if Path(weights).is_dir() else read_state_dict(weights)


def map_official_mmin_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of an official MMIN network under our names, convolutions over text in our shape.

    Raises:
        ImderError: names are missing or unknown, or a convolution over text isn't one.
    """
    shared = not any(name.startswith("netAE_cycle.") for name in state)
    renames = official_mmin_names(shared, any(name.startswith(f"{TEACHER}netC.") for name in state))
    missing, unknown = [name for name in renames if name not in state], [name for name in state if name not in renames]
    if missing or unknown:
        parts = [f"missing {listing(missing)}"] * bool(missing) + [f"unknown {listing(unknown)}"] * bool(unknown)
        raise ImderError(f"not the weights of an official MMIN network: {'; '.join(parts)}")
    ours = {}
    for theirs, mapped in renames.items():
        value = state[theirs]
        if ".convs." in mapped and mapped.endswith("weight"):
            if value.ndim != 4 or value.shape[1] != 1:
                raise ImderError(f"{theirs} is no convolution over text: its weights are {tuple(value.shape)}")
            value = value.squeeze(1).transpose(1, 2)
        ours[mapped] = value
    return ours


def _load(state: Mapping[str, Tensor], frames: int, classes: tuple[str, ...]) -> MMIN:
    renamed = map_official_mmin_names(state)
    modalities = []
    for name in LETTERS.values():
        weight = renamed[f"encoders.{name}.reader." + ("convs.0.weight" if name == "language" else "rnn.weight_ih_l0")]
        if weight.ndim < 2:
            raise ImderError(f"the encoder of {name} has weights {tuple(weight.shape)}: no network that reads frames")
        modalities.append(Modality(name, weight.shape[1], frames))
    outputs = len(renamed["head.out.bias"])
    classes = classes or tuple(map(str, range(outputs if outputs > 1 else 0)))
    if len(classes) != (outputs if outputs > 1 else 0):
        raise ImderError(f"the network has {outputs} outputs, but {len(classes)} classes are named")
    spec = Spec(tuple(modalities), "classification" if classes else "regression", classes)
    shared = not any(name.startswith("backwards.") for name in renamed)
    model = MMIN(spec, replace(_OFFICIAL, cascade=CascadeConfig(shared=shared)))
    own = model.state_dict()
    check_shapes(renamed, own)
    model.load_state_dict({**own, **renamed})
    return model.eval()
