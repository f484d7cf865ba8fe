"""Draws room responses to train with: `python -m train.echo.rooms --out FILE.npy`.

Shoebox rooms by the image method with displaced images (pyroomacoustics), a loudspeaker 5 cm to 1.5 m from the
microphone. Each room has a random generator of its own: the same seed gives the same file, however many jobs work.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyroomacoustics
from numpy.typing import NDArray

from halfbeat.audio import RATE_HZ

#: Samples of a response: 256 ms.
TAPS = 4096
_SMALLEST_M, _LARGEST_M = (2.5, 2.5, 2.2), (8.0, 7.0, 3.5)
_RT60_S = (0.12, 0.6)
_DISTANCE_M = (0.05, 1.5)
#: The microphone keeps away from the walls, the floor and the ceiling; the loudspeaker does too, but less.
_MICROPHONE_M, _CEILING_M, _LOUDSPEAKER_M = (0.4, 0.4, 0.5), (0.4, 0.4, 0.6), 0.1
#: Reflections of a sound: more of them would be exact for longer, and cost the cube.
_MOST_REFLECTIONS = 14
_DISPLACED_M = 0.05
#: Samples before the direct sound, which begins where a tenth of the peak is reached.
_LEAD = 8
_ROOMS_A_TURN = 20


def response(seed: int, number: int) -> NDArray[np.float16]:
    """Returns the response of one room, [TAPS], energy 1; what the loudspeaker's distance delays is cut off."""
    rng = np.random.default_rng((seed, number))
    pyroomacoustics.random.seed(int(rng.integers(2**31)))
    taps = None
    while taps is None:
        taps = _room(rng)
    first = int(np.argmax(np.abs(taps) > 0.1 * np.abs(taps).max()))
    taps = taps[max(0, first - _LEAD) :][:TAPS]
    taps = taps * np.exp(-np.maximum(0, np.arange(len(taps)) - 0.9 * TAPS) / 100)
    whole = np.zeros(TAPS, np.float16)
    whole[: len(taps)] = taps / np.sqrt((taps**2).sum())
    return whole


def _room(rng: np.random.Generator) -> NDArray[np.float64] | None:
    """Draws a room; None where the walls would have to absorb too much, or the loudspeaker is not inside."""
    size = rng.uniform(_SMALLEST_M, _LARGEST_M)
    try:
        absorption, reflections = pyroomacoustics.inverse_sabine(rng.uniform(*_RT60_S), size)
    except ValueError:
        return None
    microphone = rng.uniform(_MICROPHONE_M, size - _CEILING_M)
    direction = rng.normal(size=3)
    distance = 10 ** rng.uniform(*np.log10(_DISTANCE_M))
    loudspeaker = microphone + distance * direction / np.linalg.norm(direction)
    if (loudspeaker < _LOUDSPEAKER_M).any() or (loudspeaker > size - _LOUDSPEAKER_M).any():
        return None
    room = pyroomacoustics.ShoeBox(
        size,
        fs=RATE_HZ,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(reflections, _MOST_REFLECTIONS),
        use_rand_ism=True,
        max_rand_disp=_DISPLACED_M,
    )
    room.add_source(loudspeaker)
    room.add_microphone(microphone)
    room.compute_rir()
    return np.asarray(room.rir[0][0], dtype=np.float64)


def _one_thread() -> None:
    pyroomacoustics.constants.set("num_threads", 1)


def main() -> None:
    """Writes [rooms, TAPS] in half precision."""
    parser = argparse.ArgumentParser(prog="python -m train.echo.rooms", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="a file that ends in .npy")
    parser.add_argument("--rooms", type=int, default=1400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each CPU)")
    args = parser.parse_args()
    if args.out.suffix != ".npy" or args.rooms < 1 or args.jobs < 1:
        parser.error("--out must end in .npy; --rooms and --jobs must be at least 1")
    rooms = np.empty((args.rooms, TAPS), np.float16)
    began = time.monotonic()
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        each = pool.map(partial(response, args.seed), range(args.rooms), chunksize=_ROOMS_A_TURN)
        for i, taps in enumerate(each):
            rooms[i] = taps
            if (i + 1) % 200 == 0 or i + 1 == args.rooms:
                print(f"rooms {i + 1} of {args.rooms}, {time.monotonic() - began:.0f} s", flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    part = args.out.with_suffix(".part.npy")
    np.save(part, rooms)
    part.replace(args.out)


if __name__ == "__main__":
    main()
