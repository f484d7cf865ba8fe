"""The mask network in PyTorch, and its export to ONNX."""

from pathlib import Path

import torch
from torch import nn

from halfbeat.audio.suppressor import BANDS, BINS, HIDDEN, LAYERS, SIGNALS, bands

_INNER = 112


class MaskNetwork(nn.Module):
    """Powers [n, time, SIGNALS, BINS] and a state [LAYERS, n, HIDDEN] become a mask [n, time, BINS] and a new state."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bands", torch.from_numpy(bands()))
        self.squeeze = nn.Linear(SIGNALS * BANDS, _INNER)
        self.recurrent = nn.GRU(_INNER, HIDDEN, LAYERS, batch_first=True)
        self.mask = nn.Linear(HIDDEN, BINS)

    def forward(self, powers: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        banded = torch.log10(powers @ self.bands + 1e-8) / 4 + 1
        inner = torch.relu(self.squeeze(banded.flatten(2)))
        hidden, state = self.recurrent(inner, state)
        return torch.sigmoid(self.mask(hidden)), state

    @property
    def parameters_count(self) -> int:
        """How many weights are learned."""
        return sum(p.numel() for p in self.parameters())


class _OneFrame(nn.Module):
    def __init__(self, network: MaskNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, powers: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mask, state = self.network(powers[:, None], state)
        return mask[:, 0], state


def export(network: MaskNetwork, file: Path) -> None:
    """Writes the network for one frame of any number of calls."""
    network = network.cpu().eval()
    torch.onnx.export(
        _OneFrame(network),
        (torch.zeros(2, SIGNALS, BINS), torch.zeros(LAYERS, 2, HIDDEN)),
        str(file),
        input_names=["powers", "state"],
        output_names=["mask", "next_state"],
        dynamic_axes={"powers": {0: "calls"}, "state": {1: "calls"}, "mask": {0: "calls"}, "next_state": {1: "calls"}},
        opset_version=17,
        dynamo=False,
    )
