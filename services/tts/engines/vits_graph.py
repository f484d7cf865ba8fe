"""Cuts an exported VITS graph in three, so that all of it but the text encoder can run over windows.

A Piper voice is one ONNX graph: phoneme ids -> text encoder and duration predictor -> prior frames -> flow -> latent
frames -> decoder -> audio. Only the first needs the whole clause. Flow and decoder see a few frames around each frame,
so they are exact over windows with enough context, and the first sound costs little more in a long clause.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halfbeat.errors import EngineFailed

# Names of the tensors at the cuts.
PRIOR = "prior"
MASK = "mask"
LATENTS = "latents"
DURATIONS = "durations"
AUDIO = "audio"
_PARTS = ("text", "flow", "decoder")
_VERSION = 2  # of the cut; part of the cached files' names


@dataclass(frozen=True)
class SplitGraph:
    """The parts, as files or, where the model's folder cannot be written, as serialised models.

    Attributes:
        text: the voice's own inputs -> `prior` (1, channels, frames), `mask` (1, 1, frames; ones) and `durations`
            (1, 1, phonemes; frames of each).
        flow: `prior` and `mask` -> `latents` (1, channels, frames).
        decoder: `latents` -> `audio` (1, 1, 1, samples).
    """

    text: str | bytes
    flow: str | bytes
    decoder: str | bytes


def split(model: Path) -> SplitGraph:
    """Returns the parts of a voice, cut on first use and kept beside it.

    Raises:
        EngineFailed: not a VITS voice as Piper exports them.
    """
    files = [model.with_name(f"{model.stem}.{part}.v{_VERSION}.onnx") for part in _PARTS]
    newest = model.stat().st_mtime_ns
    if all(p.is_file() and p.stat().st_mtime_ns >= newest for p in files):
        return SplitGraph(*map(str, files))
    parts = _cut(model)
    try:
        for path, part in zip(files, parts, strict=True):
            _write_whole(path, part)
    except OSError:  # a read-only image: cut again at every start (0.5 s)
        return SplitGraph(*parts)
    return SplitGraph(*map(str, files))


def _cut(model: Path) -> tuple[bytes, bytes, bytes]:
    import onnx

    try:
        whole = onnx.load(str(model))
    except Exception as e:
        raise EngineFailed(f"{model.name} is not an ONNX model: {e}") from e
    graph = whole.graph
    named = {n.name: n for n in graph.node}
    made_by = {name: n for n in graph.node for name in n.output}
    try:
        head = named["/dec/conv_pre/Conv"]
        masked = made_by[head.input[0]]  # what enters the decoder is the flow's result times the mask
        renamed = {
            named["/Add"].output[0]: PRIOR,  # mean plus noise of each frame
            masked.input[1]: MASK,
            head.input[0]: LATENTS,
            named["/Ceil"].output[0]: DURATIONS,
            graph.output[0].name: AUDIO,
        }
        channels = next(i.dims[1] for i in graph.initializer if i.name == head.input[1])
    except (KeyError, StopIteration, IndexError) as e:
        raise EngineFailed(f"{model.name} is not a VITS voice as Piper exports it: {e!r} is not there") from e
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = renamed.get(name, name)

    def tensor(name: str, *shape: int | str) -> Any:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    prior, latents = (tensor(name, 1, channels, "frames") for name in (PRIOR, LATENTS))
    mask = tensor(MASK, 1, 1, "frames")
    return (
        _part(onnx, whole, list(graph.input), [prior, mask, tensor(DURATIONS, 1, 1, "phonemes")]),
        _part(onnx, whole, [prior, mask], [latents]),
        _part(onnx, whole, [latents], [tensor(AUDIO, 1, 1, 1, "samples")]),
    )


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
    graph = onnx.helper.make_graph(kept, "part", inputs, outputs, [weights[n] for n in sorted(used)])
    part = onnx.helper.make_model(graph, opset_imports=whole.opset_import)
    part.ir_version = whole.ir_version
    return bytes(part.SerializeToString())


def _write_whole(path: Path, content: bytes) -> None:
    """Writes beside the target and renames, so that no reader and no second worker sees half a file."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
