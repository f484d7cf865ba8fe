"""coqui-tts voices, from random weights: what they say is noise, but how they are loaded, cut and stopped is real.

Skipped where the extra `coqui` (with torch, 1 GB) is not installed.
"""

import wave
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halfbeat.errors import EngineFailed, InvalidRequest
from services.tts.engines.coqui import CoquiEngine

needs_coqui = pytest.mark.skipif(find_spec("TTS") is None, reason="coqui-tts is not installed: halfbeat[coqui]")
pytestmark = pytest.mark.filterwarnings("ignore")
TEXT = "A truck will come tomorrow at 7 AM, to 12 Oak St."


@pytest.fixture(scope="module")
def vits(tmp_path_factory: pytest.TempPathFactory) -> CoquiEngine:
    import torch
    from TTS.tts.configs.shared_configs import CharactersConfig
    from TTS.tts.configs.vits_config import VitsConfig
    from TTS.tts.models.vits import Vits, VitsArgs

    folder = tmp_path_factory.mktemp("vits")
    torch.manual_seed(1)
    args = VitsArgs(
        hidden_channels=16,
        hidden_channels_ffn_text_encoder=32,
        num_layers_text_encoder=1,
        upsample_initial_channel_decoder=32,
        num_layers_flow=1,
        num_layers_posterior_encoder=1,
    )
    symbols = CharactersConfig(
        characters_class="TTS.tts.utils.text.characters.IPAPhonemes",
        pad="_",
        eos="$",
        bos="^",
        blank="<BLNK>",
        characters="abdefhijklmnopstuvwzæðŋɐɑɔəɚɛɜɡɪɹɾʃʊʌʒˈˌːθᵻ .,",
        punctuations="",
        is_unique=False,
        is_sorted=False,
    )
    config = VitsConfig(
        model_args=args, characters=symbols, add_blank=True, enable_eos_bos_chars=True, text_cleaner=None
    )
    model = Vits(config)
    config.use_phonemes, config.phonemizer, config.phoneme_language = True, "espeak", "en-us"
    config.save_json(str(folder / "config.json"))
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    engine = CoquiEngine(folder)
    engine.load()
    return engine


@pytest.fixture(scope="module")
def xtts(tmp_path_factory: pytest.TempPathFactory) -> CoquiEngine:
    import torch
    from tokenizers import Tokenizer
    from tokenizers import models as tokenizer_models
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.models.xtts import Xtts, XttsArgs

    folder = tmp_path_factory.mktemp("xtts")
    torch.manual_seed(1)
    special = ["[STOP]", "[UNK]", "[SPACE]", "[en]", "[START]"]
    letters = list("abcdefghijklmnopqrstuvwxyz.,!?'-")
    bpe = tokenizer_models.BPE(vocab={s: i for i, s in enumerate(special + letters)}, merges=[], unk_token="[UNK]")
    tokenizer = Tokenizer(bpe)
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "vocab.json"))
    args = XttsArgs(
        gpt_layers=1,
        gpt_n_model_channels=64,
        gpt_n_heads=2,
        decoder_input_dim=64,
        gpt_use_perceiver_resampler=True,
        gpt_num_audio_tokens=1026,
        gpt_start_audio_token=1024,
        gpt_stop_audio_token=1025,
        gpt_number_text_tokens=len(special + letters),
        gpt_start_text_token=4,
        gpt_stop_text_token=0,
        gpt_max_audio_tokens=60,
        tokenizer_file=str(folder / "vocab.json"),
    )
    config = XttsConfig(model_args=args)
    model = Xtts.init_from_config(config)
    config.save_json(str(folder / "config.json"))
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    with wave.open(str(folder / "somebody.wav"), "wb") as file:
        file.setparams((1, 2, 22_050, 0, "NONE", ""))
        file.writeframes((np.random.default_rng(1).normal(0, 3000, 22_050 * 3)).astype("<i2").tobytes())
    engine = CoquiEngine(folder)
    engine.load()
    return engine


@needs_coqui
def test_windows_are_the_whole_decode_cut_in_pieces(vits: CoquiEngine) -> None:
    import torch

    model: Any = vits._model
    latents, _, speaker = model._front(model._ids(TEXT)[0], "", 1.0)
    with torch.inference_mode():
        whole = model._model.waveform_decoder(latents, g=speaker)[0, 0].numpy()
    pieces = [piece for piece, _ in model.windows(latents, speaker)]
    assert len(pieces) >= 2
    assert np.abs(np.concatenate(pieces) - whole).max() < 1e-4 * np.abs(whole).max()


@needs_coqui
def test_durations_are_those_of_the_audio_and_belong_to_words(vits: CoquiEngine) -> None:
    model: Any = vits._model
    ids, owners = model._ids(TEXT)
    latents, durations, _ = model._front(ids, "", 1.0)
    assert len(ids) == len(owners) == len(durations)
    assert durations.sum() == latents.shape[-1]
    assert sorted(set(owners)) == [-1, *range(11)]


@needs_coqui
def test_a_clause_streams_and_stops_when_it_is_closed(xtts: CoquiEngine) -> None:
    pieces = xtts.synthesize(TEXT)
    first = next(pieces)
    assert len(first.samples) > 1000
    assert first.samples.dtype == np.float32
    pieces.close()  # type: ignore[attr-defined]
    assert next(pieces, None) is None


@needs_coqui
def test_a_speaker_that_is_not_there_is_refused_with_those_that_are(xtts: CoquiEngine) -> None:
    with pytest.raises(InvalidRequest, match="somebody"):
        next(iter(xtts.synthesize(TEXT, voice="nobody")))


@needs_coqui
def test_nothing_to_say_makes_no_sound(vits: CoquiEngine) -> None:
    assert list(vits.synthesize("…")) == []


@needs_coqui
def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"config\.json"):
        CoquiEngine(tmp_path).load()


@pytest.mark.skipif(find_spec("TTS") is not None, reason="coqui-tts is installed")
def test_without_coqui_tts_the_error_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="coqui"):
        CoquiEngine(tmp_path).load()
