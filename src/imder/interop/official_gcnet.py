r"""Weights of the official GCNet code, loaded into `imder.models.baselines.gcnet.GCNet`.

The networks are the same, so that weights only need renaming. Official names and ours (B: temporal, speaker):

    lstm.*                                  network.reader.lstm.*
    graph_net_B.conv1.*                     network.B.relational.*        relational convolution
    graph_net_B.conv2.lin_rel, .lin_root    network.B.graph.neighbours, .root
    graph_net_B.grufusion.*                 network.B.reader.lstm.*       (LSTMs, despite their name)
    graph_net_B.matchatt.transform          network.B.attention.transform
    graph_net_B.linear                      network.B.out
    smax_fc, linear_rec                     network.head, network.rebuild

The official file holds more than the network uses: ``gru.*``, an alternative to ``lstm.*`` (this loader is for networks that
use the LSTM), and ``matchatt.*`` where the network runs without attention. The modalities of the columns, the use of
attention and the width of the window are not in the weights and must be given. Utterance vectors are not standardised in
the official code, nor here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isqrt
from pathlib import Path

from torch import Tensor

from imder.interop.official_imder import check_shapes, listing, read_state_dict
from imder.models.baselines.gcnet import GCNet, GCNetConfig
from imder.types import ImderError, Modality, Spec

BRANCHES = ("temporal", "speaker")


def _lstm(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for layer in (0, 1):
        for direction in ("", "_reverse"):
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                name = f"{kind}_l{layer}{direction}"
                yield f"{theirs}.{name}", f"{ours}.lstm.{name}"


def _linear(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    yield f"{theirs}.weight", f"{ours}.weight"
    yield f"{theirs}.bias", f"{ours}.bias"


def official_names(attention: bool) -> dict[str, str]:
    """Every official parameter name that the network uses -> ours.

    >>> official_names(False)["graph_net_speaker.conv1.root"]
    'network.speaker.relational.root'
    """
    names = dict(_lstm("lstm", "network.reader"))
    for branch in BRANCHES:
        theirs, ours = f"graph_net_{branch}", f"network.{branch}"
        names |= {f"{theirs}.conv1.{part}": f"{ours}.relational.{part}" for part in ("weight", "root", "bias")}
        names.update(_linear(f"{theirs}.conv2.lin_rel", f"{ours}.graph.neighbours"))
        names[f"{theirs}.conv2.lin_root.weight"] = f"{ours}.graph.root.weight"
        names.update(_lstm(f"{theirs}.grufusion", f"{ours}.reader"))
        if attention:
            names.update(_linear(f"{theirs}.matchatt.transform", f"{ours}.attention.transform"))
        names.update(_linear(f"{theirs}.linear", f"{ours}.out"))
    names.update(_linear("smax_fc", "network.head"))
    names.update(_linear("linear_rec", "network.rebuild"))
    return names


def _is_unused(name: str, attention: bool) -> bool:
    return name.startswith("gru.") or (not attention and ".matchatt." in name)


def load_official_gcnet(
    weights: Mapping[str, Tensor] | str | Path,
    dims: Mapping[str, int],
    *,
    attention: bool,
    window: int = 2,
    classes: Sequence[str] = (),
) -> GCNet:
    """The network with official weights, ready to predict.

    Its spec: the modalities of ``dims``, one frame each (longer ones are averaged); hidden units and speakers are those
    of the weights. Shorter dialogues of a batch are predicted as if alone, where the official code reads padding behind
    them.

    Args:
        weights: a state dictionary under the official names, or a file that holds one (`read_state_dict`).
        dims: features of each modality in the order of the official columns (audio, language, vision).
        attention: whether the network was trained with attention over utterances.
        window: utterances before and after that are neighbours.
        classes: their names, for classification.

    Raises:
        ImderError: the weights are of another network, or don't fit the arguments.
    """
    if isinstance(weights, Mapping):
        return _load(weights, dims, attention, window, tuple(classes))
    state = read_state_dict(weights)
    try:
        return _load(state, dims, attention, window, tuple(classes))
    except ImderError as error:
        raise ImderError(f"{weights}: {error}") from None


def _load(
    state: Mapping[str, Tensor], dims: Mapping[str, int], attention: bool, window: int, classes: tuple[str, ...]
) -> GCNet:
    renames = official_names(attention)
    missing = [name for name in renames if name not in state]
    unknown = [name for name in state if name not in renames and not _is_unused(name, attention)]
    if missing or unknown:
        parts = [f"{word} {listing(names)}" for word, names in (("missing", missing), ("unknown", unknown)) if names]
        raise ImderError(f"not the weights of an official GCNet network: {'; '.join(parts)}")
    columns = state["lstm.weight_ih_l0"].shape[-1]
    if sum(dims.values()) != columns:
        given = " + ".join(f"{name} {dim}" for name, dim in dims.items())
        raise ImderError(
            f"the weights are for {columns} features of an utterance, not for {given} = {sum(dims.values())}"
        )
    outputs = len(state["smax_fc.bias"])
    if outputs != max(1, len(classes)):
        raise ImderError(f"the weights have {outputs} outputs, and {len(classes)} classes are named")
    config = GCNetConfig(
        hidden=state["lstm.weight_hh_l0"].shape[-1],
        window=window,
        speakers=isqrt(len(state["graph_net_speaker.conv1.weight"])),
        attention=attention,
        standardize=False,
    )
    modalities = tuple(Modality(name, dim, 1) for name, dim in dims.items())
    model = GCNet(Spec(modalities, "classification" if classes else "regression", classes), config)
    renamed = {ours: state[theirs] for theirs, ours in renames.items()}
    own = model.state_dict()
    check_shapes(renamed, own)
    model.load_state_dict({**own, **renamed})
    return model.eval()
