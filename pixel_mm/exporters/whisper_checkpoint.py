"""A recogniser as the folder that other Whisper code loads: `transformers`, and converters that start from it.

python -m pixel_mm.export target=whisper_checkpoint run=RUN_DIR output=DIR
"""

import shutil
from pathlib import Path

from omegaconf import DictConfig
from safetensors.torch import save_file
from transformers import WhisperConfig, WhisperFeatureExtractor

from pixel_mm.exporters.alignment import Heads, check_heads, known_heads
from pixel_mm.exporters.trained_network import find_tokenizer, load_network
from pixel_mm.model_folder import ModelFolderError
from pixel_mm.models.speech_recognition.network import WhisperRecognizer
from pixel_mm.runs import RunFolder, atomic_path
from pixel_mm.whisper_tokens import WhisperTokenizer


def write_checkpoint(
    network: WhisperRecognizer, tokenizer: Path, output: Path, overwrite: bool = False, alignment_heads: Heads = ()
) -> None:
    """Write `config.json`, `model.safetensors`, `tokenizer.json` and `preprocessor_config.json`.

    Args:
        network: any recogniser; weights of short context are for code that gives the encoder the frames there are.
        tokenizer: its tokenizer.json.
        output: folder to make.
        overwrite: replace a folder that is there.
        alignment_heads: (layer, head) of the decoder that follow the speech; none where nobody knows.

    Raises:
        ModelFolderError: there is something at `output` already, or a head that is not there.
        TokenizerError: the tokenizer does not belong to the weights.
    """
    if not overwrite and output.exists():
        raise ModelFolderError(f"output={output} exists; choose another folder, or replace it with overwrite=true")
    tokens = WhisperTokenizer.load(tokenizer)
    tokens.check_fits(network.decoder.num_tokens)
    heads = check_heads(network, alignment_heads)
    with atomic_path(output) as aside:
        aside.mkdir(parents=True)
        _config(network, tokens, heads).save_pretrained(aside)
        mels = network.encoder.architecture["mels"]
        WhisperFeatureExtractor(feature_size=mels).save_pretrained(aside)
        # The scores' weights are the embedding's, which published files hold once.
        weights = {f"model.{name}": tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
        save_file(weights, aside / "model.safetensors", metadata={"format": "pt"})
        shutil.copyfile(tokenizer, aside / "tokenizer.json")


def write_configured(cfg: DictConfig) -> None:
    """Write as configured: `run`, `checkpoint`, `output`, `overwrite`.

    Raises:
        RunError: `run` is no run folder.
        ModelFolderError: the run trained no recogniser, or see `write_checkpoint`.
    """
    run = RunFolder(Path(cfg.run))
    if run.load_config().get("recognizer") is None:
        raise ModelFolderError(f"run={cfg.run} trained no recogniser")
    network = load_network(run, cfg.checkpoint)
    if not isinstance(network, WhisperRecognizer):
        raise ModelFolderError(f"run={cfg.run} trained a {type(network).__name__}, which is no Whisper")
    tokenizer, heads = find_tokenizer(run, cfg.checkpoint), known_heads(run.load_config().recognizer)
    write_checkpoint(network, tokenizer, Path(cfg.output), cfg.overwrite, heads)
    print(f"checkpoint: {cfg.output}")


def _config(network: WhisperRecognizer, tokens: WhisperTokenizer, heads: Heads) -> WhisperConfig:
    encoder, decoder = network.architecture["encoder"], network.architecture["decoder"]
    config = WhisperConfig(
        architectures=["WhisperForConditionalGeneration"],
        vocab_size=decoder["tokens"],
        num_mel_bins=encoder["mels"],
        d_model=encoder["hidden_size"],
        encoder_layers=encoder["layers"],
        encoder_attention_heads=encoder["heads"],
        encoder_ffn_dim=encoder["feed_forward_size"],
        decoder_layers=decoder["layers"],
        decoder_attention_heads=decoder["heads"],
        decoder_ffn_dim=decoder["feed_forward_size"],
        max_target_positions=decoder["max_tokens"],
        decoder_start_token_id=tokens.start,
        eos_token_id=tokens.end,
        pad_token_id=tokens.end,
        bos_token_id=tokens.end,
        suppress_tokens=list(tokens.suppressed),
        begin_suppress_tokens=list(tokens.suppressed_first),
    )
    # transformers keeps these and does not read them; `SpeechRecognizer` does.
    config.update({"audio_context": network.context, "alignment_heads": [list(pair) for pair in heads]})
    return config
