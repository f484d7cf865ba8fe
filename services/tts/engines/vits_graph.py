"""Cuts an exported VITS graph in two at the decoder's input, so that the decoder can run over windows.

A Piper voice is one ONNX graph: phoneme ids -> encoder, duration predictor, flow -> latent frames -> decoder -> audio.
All but the decoder is cheap and needs the whole clause; the decoder is most of the work and sees only a few frames
around each frame, so it is exact over windows with enough context.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halfbeat.errors import EngineFailed

LATENTS = "latents"
DURATIONS = "durations"
_VERSION = 1  # of the split; part of the cached files' names


@dataclass(frozen=True)
class SplitGraph:
    """The two halves, as files or, where the model's folder cannot be written, as serialised models."""

    encoder: str | bytes
    decoder: str | bytes


def split(model: Path) -> SplitGraph:
    """Returns the halves of a voice, cut on first use and kept beside it.

    Encoder: the voice's own inputs -> `latents` (1, channels, frames) and `durations` (1, 1, phonemes; frames each).
    Decoder: `latents` -> `audio` (1, 1, 1, samples).

    Raises:
        EngineFailed: not a VITS voice as Piper exports them.
    """
    encoder, decoder = (model.with_name(f"{model.stem}.{part}.v{_VERSION}.onnx") for part in ("encoder", "decoder"))
    newest = model.stat().st_mtime_ns
    if all(p.is_file() and p.stat().st_mtime_ns >= newest for p in (encoder, decoder)):
        return SplitGraph(str(encoder), str(decoder))
    first, second = _cut(model)
    try:
        for path, half in ((encoder, first), (decoder, second)):
            _write_whole(path, half)
    except OSError:  # a read-only image: cut again at every start (0.5 s)
        return SplitGraph(first, second)
    return SplitGraph(str(encoder), str(decoder))


def _cut(model: Path) -> tuple[bytes, bytes]:
    import onnx

    try:
        whole = onnx.load(str(model))
    except Exception as e:
        raise EngineFailed(f"{model.name} is not an ONNX model: {e}") from e
    graph = whole.graph
    heads = [n for n in graph.node if n.op_type == "Conv" and n.name.endswith("/dec/conv_pre/Conv")]
    lengths = [n for n in graph.node if n.op_type == "Ceil" and n.name == "/Ceil"]
    if len(heads) != 1 or len(lengths) != 1 or len(graph.output) != 1:
        raise EngineFailed(f"{model.name} is not a VITS voice as Piper exports it: no decoder or durations found")
    latents, durations = heads[0].input[0], lengths[0].output[0]
    renamed = {latents: LATENTS, durations: DURATIONS, graph.output[0].name: "audio"}
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name in renamed:
                    names[i] = renamed[name]
    info = onnx.helper.make_tensor_value_info
    real = onnx.TensorProto.FLOAT
    channels = next(i.dims[1] for i in graph.initializer if i.name == heads[0].input[1])
    z = info(LATENTS, real, [1, channels, "frames"])
    encoder = _part(onnx, whole, list(graph.input), [z, info(DURATIONS, real, [1, 1, "phonemes"])])
    decoder = _part(onnx, whole, [z], [info("audio", real, [1, 1, 1, "samples"])])
    return encoder, decoder


def _part(onnx: Any, whole: Any, inputs: list[Any], outputs: list[Any]) -> bytes:
    """Serialises the nodes and weights that lead from the inputs to the outputs."""
    made_by = {name: node for node in whole.graph.node for name in node.output}
    weights = {w.name: w for w in whole.graph.initializer}
    given = {i.name for i in inputs}
    wanted = [o.name for o in outputs]
    nodes: set[int] = set()
    used: set[str] = set()
    seen: set[str] = set()
    while wanted:
        name = wanted.pop()
        if not name or name in seen or name in given:
            continue
        seen.add(name)
        if name in weights:
            used.add(name)
        elif name in made_by:
            nodes.add(id(made_by[name]))
            wanted.extend(made_by[name].input)
    kept = [n for n in whole.graph.node if id(n) in nodes]
    graph = onnx.helper.make_graph(kept, "half", inputs, outputs, [weights[n] for n in sorted(used)])
    part = onnx.helper.make_model(graph, opset_imports=whole.opset_import)
    part.ir_version = whole.ir_version
    return bytes(part.SerializeToString())


def _write_whole(path: Path, content: bytes) -> None:
    """Writes beside the target and renames, so that no reader and no second worker sees half a file."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
