"""Trains the suppressor: `python -m train.echo --help`."""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from halfbeat.audio.linear import HOP, Linear
from halfbeat.audio.suppressor import ANALYSIS, FRAME, HIDDEN, LAYERS
from train.echo.network import MaskNetwork, export
from train.echo.simulate import Scenes, Simulator
from train.echo.speech import Voices

_COMPRESSION = 0.3
_HELD_OUT = 192


def linear(scenes: Scenes) -> tuple[torch.Tensor, torch.Tensor]:
    """Runs the linear filter, the very one that calls get; returns what it leaves and the reference in line."""
    device = scenes.microphone.device
    stage = Linear(len(scenes.microphone), torch, device)
    rows = torch.arange(len(scenes.microphone), device=device)
    hops = [
        stage.step(rows, m, r)
        for m, r in zip(scenes.microphone.split(HOP, 1), scenes.reference.split(HOP, 1), strict=True)
    ]
    return torch.cat([h[0] for h in hops], 1), torch.cat([h[1] for h in hops], 1)


def prepared(scenes: Scenes) -> torch.Tensor:
    """Returns [n, 4, samples]: heard, left by the filter, played, wanted; half precision."""
    left, played = linear(scenes)
    return torch.stack((scenes.microphone, left, played, scenes.target), 1).half()


def spectra(signals: torch.Tensor) -> torch.Tensor:
    """Returns the frames' spectra, [..., time, BINS]."""
    window = torch.from_numpy(ANALYSIS).to(signals.device)
    frames = torch.nn.functional.pad(signals, (FRAME - HOP, 0)).unfold(-1, FRAME, HOP)
    return torch.fft.rfft(frames * window)


def compressed(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Magnitudes to the power of 0.3, and the same with the phase, as loudness is heard."""
    magnitude = (x.real.square() + x.imag.square() + 1e-9).sqrt()
    short = magnitude**_COMPRESSION
    return short, x * (short / magnitude)


def loss_of(network: MaskNetwork, signals: torch.Tensor, keep: float) -> torch.Tensor:
    """Distance between what is left behind the mask and what is wanted; `keep` weighs voice that was taken away."""
    heard, left, played, wanted = spectra(signals).unbind(1)
    powers = torch.stack([x.real.square() + x.imag.square() for x in (heard, left, heard - left, played)], 2)
    mask, _ = network(powers, torch.zeros(LAYERS, len(signals), HIDDEN, device=signals.device))
    loud, voiced = compressed(left * mask)
    loud_wanted, voiced_wanted = compressed(wanted)
    short = loud_wanted - loud
    magnitude = (short.square() * torch.where(short > 0, keep, 1.0)).mean()
    return 0.6 * magnitude + 0.4 * (voiced - voiced_wanted).abs().square().mean()


def score(network: MaskNetwork, signals: torch.Tensor) -> dict[str, float]:
    """How much echo goes and how much voice stays, in dB, over scenes of a seed of their own."""
    with torch.no_grad():
        x = spectra(signals.float())
        heard, left, played, wanted = x.unbind(1)
        powers = torch.stack([v.real.square() + v.imag.square() for v in (heard, left, heard - left, played)], 2)
        mask, _ = network(powers, torch.zeros(LAYERS, len(signals), HIDDEN, device=signals.device))
        out = left * mask
    energy = {k: v.abs().square().sum(-1) for k, v in (("m", heard), ("l", left), ("o", out), ("w", wanted))}
    late = torch.arange(heard.shape[1], device=heard.device) > heard.shape[1] // 4
    peak = energy["w"].amax(1, keepdim=True)
    alone = (energy["w"] < 1e-3 * energy["m"]) & (played.abs().square().sum(-1) > 1e-2) & late
    alone &= energy["m"] > 1e-3
    talking = (energy["w"] > 1e-2 * peak) & (peak > 1e-3)
    wrong = (out - wanted).abs().square().sum(-1)
    wrong_left = (left - wanted).abs().square().sum(-1)
    wrong_heard = (heard - wanted).abs().square().sum(-1)

    def db(a: torch.Tensor, b: torch.Tensor, where: torch.Tensor) -> float:
        return float((10 * torch.log10((a[where] + 1e-9) / (b[where] + 1e-9))).median())

    return {
        "erle_linear_db": db(energy["m"], energy["l"], alone),
        "erle_db": db(energy["m"], energy["o"], alone),
        "sdr_heard_db": db(energy["w"], wrong_heard, talking),
        "sdr_linear_db": db(energy["w"], wrong_left, talking),
        "sdr_db": db(energy["w"], wrong, talking),
    }


def main() -> None:
    """Draws scenes, trains, writes `suppressor.onnx`, its weights and its scores."""
    parser = argparse.ArgumentParser(prog="python -m train.echo", description=__doc__)
    parser.add_argument("--speech", type=Path, required=True, help="folder with one recording for each voice")
    parser.add_argument("--rooms", type=Path, required=True, help="room responses, from `python -m train.echo.rooms`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=40, help="of scenes to draw")
    parser.add_argument("--minutes", type=float, default=9, help="of training after that")
    parser.add_argument("--seconds", type=float, default=7, help="of each scene")
    parser.add_argument("--scenes", type=int, default=384, help="drawn at a time; fewer need less memory")
    parser.add_argument("--batch", type=int, default=160)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="learning rate at its highest")
    parser.add_argument("--keep", type=float, default=2.0, help="weight of voice that was taken away")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--from", dest="begin", type=Path, help="weights to go on from")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    voices = Voices(args.speech, device)
    rooms = torch.from_numpy(np.load(args.rooms)).to(device)
    began = time.monotonic()
    wanted = max(1, round(args.hours * 3600 / args.seconds))
    each = min(args.scenes, wanted)
    draws = max(1, round(args.hours * 3600 / args.seconds / each))
    with torch.no_grad():
        held = prepared(Simulator(voices, rooms, args.seconds, args.seed + 10_000).draw(min(_HELD_OUT, args.scenes)))
        simulator = Simulator(voices, rooms, args.seconds, args.seed)
        pool = []
        for i in range(draws):
            pool.append(prepared(simulator.draw(each)))
            if i % 5 == 0:
                print(f"scenes {i + 1} of {draws}, {time.monotonic() - began:.0f} s", flush=True)
    scenes = torch.cat(pool)
    del pool
    network = MaskNetwork().to(device)
    if args.begin:
        network.load_state_dict(torch.load(args.begin, map_location=device))
    print(f"{network.parameters_count} weights, {len(scenes)} scenes", flush=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=args.rate, weight_decay=1e-4)
    began, step, share = time.monotonic(), 0, 0.0
    losses = []
    while share < 1:
        share = (time.monotonic() - began) / (args.minutes * 60)
        warm = min(1.0, step / 200)
        for group in optimiser.param_groups:
            group["lr"] = args.rate * warm * (0.5 + 0.5 * np.cos(np.pi * min(1.0, share))) + 1e-6
        which = torch.randint(len(scenes), (args.batch,), device=device)
        gain = 10 ** (torch.empty(args.batch, 1, 1, device=device).uniform_(-8, 8) / 20)
        loss = loss_of(network, scenes[which].float() * gain, args.keep)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.detach())
        step += 1
        if step % 250 == 0:
            mean = float(torch.stack(losses).mean())
            losses.clear()
            print(f"step {step}, {share:.0%}, loss {mean:.5f}", flush=True)
            if step % 1000 == 0:
                print(json.dumps({k: round(v, 1) for k, v in score(network, held).items()}), flush=True)
    scores = {"steps": step, **score(network, held)}
    print(json.dumps(scores))
    args.out.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), args.out / "suppressor.pt")
    (args.out / "scores.json").write_text(json.dumps({**vars(args), **scores}, default=str, indent=1))
    try:
        export(network, args.out / "suppressor.onnx")
    except Exception as e:  # the weights are kept; `train.echo.network.export` can be called elsewhere
        print(f"not exported here: {e!r}")


if __name__ == "__main__":
    main()
