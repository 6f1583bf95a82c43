"""Writes a checkpoint of train.py as a GGUF file for llama.cpp. Usage: export.py CHECKPOINT.npz OUT.gguf [q8_0|f16|f32]"""
from __future__ import annotations

import sys

import gguf
import numpy as np

HEAD = 32
CONTEXT = 2048
CONTROL = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
TEMPLATE = ("{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + '<|end|>\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}")
FILE_TYPES = {"q8_0": gguf.LlamaFileType.MOSTLY_Q8_0, "f16": gguf.LlamaFileType.MOSTLY_F16, "f32": gguf.LlamaFileType.ALL_F32}


def byte_letters() -> list[str]:
    """GPT-2's alphabet: a printable letter for each of the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    letters = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [letters[b] for b in range(256)]


def interleaved(matrix: np.ndarray) -> np.ndarray:
    """Rows of q or k from half-split heads (i, i + 16) to llama's pairs (2i, 2i + 1)."""
    rows, columns = matrix.shape
    return matrix.reshape(rows // HEAD, 2, HEAD // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def tensors(checkpoint) -> dict[str, np.ndarray]:
    """llama.cpp's names and (out, in) shapes."""
    emb, norms, attn, wide, down = (checkpoint["mean." + k] for k in ("emb", "norms", "attn", "wide", "down"))
    out = {"token_embd": emb, "output_norm": norms[-1]}
    for i in range(len(attn)):
        q, k, v, o = (m.T for m in attn[i])
        out |= {f"blk.{i}.attn_norm": norms[2 * i], f"blk.{i}.ffn_norm": norms[2 * i + 1],
                f"blk.{i}.attn_q": interleaved(q), f"blk.{i}.attn_k": interleaved(k), f"blk.{i}.attn_v": v, f"blk.{i}.attn_output": o,
                f"blk.{i}.ffn_gate": wide[i, 0].T, f"blk.{i}.ffn_up": wide[i, 1].T, f"blk.{i}.ffn_down": down[i].T}
    return {f"{name}.weight": np.ascontiguousarray(x.astype(np.float32)) for name, x in out.items()}


def main(source: str, target: str, kind: str = "q8_0") -> None:
    checkpoint = np.load(source)
    width, layers, hidden = checkpoint["mean.emb"].shape[1], len(checkpoint["mean.attn"]), checkpoint["mean.down"].shape[1]
    letters = byte_letters()
    tokens = letters + CONTROL + [letters[32] * 2]  # the last one keeps the count even and is never produced
    types = [gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.CONTROL] * len(CONTROL) + [gguf.TokenType.UNUSED]

    w = gguf.GGUFWriter(target, "llama")
    w.add_name("igris-recall")
    w.add_type("model")
    w.add_file_type(FILE_TYPES[kind])
    w.add_context_length(CONTEXT)
    w.add_embedding_length(width)
    w.add_block_count(layers)
    w.add_feed_forward_length(hidden)
    w.add_head_count(width // HEAD)
    w.add_head_count_kv(width // HEAD)
    w.add_rope_dimension_count(HEAD)
    w.add_rope_freq_base(10000.0)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(len(tokens))
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges([letters[0] + " " + letters[0]])  # llama.cpp wants the list to exist; one useless merge leaves pure bytes
    w.add_bos_token_id(256)
    w.add_eos_token_id(260)
    w.add_eot_token_id(260)
    w.add_pad_token_id(256)
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)
    for name, x in tensors(checkpoint).items():
        if x.ndim == 1 or kind == "f32":
            w.add_tensor(name, x)
        elif kind == "f16":
            w.add_tensor(name, x.astype(np.float16))
        else:
            quantised = gguf.GGMLQuantizationType.Q8_0
            w.add_tensor(name, gguf.quants.quantize(x, quantised), raw_dtype=quantised)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
