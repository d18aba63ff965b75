"""What the sides with ONNX Runtime share: the released default network as it is shipped, and how a tile is read.

It imports nothing of Inkling, because each of these sides runs in an environment of its own.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

MODEL = Path(__file__).parents[3] / "models" / "released" / "convnet" / "model.onnx"


def load() -> onnxruntime.InferenceSession:
    """A session with one thread for the one core, as ONNX Runtime's documentation advises."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])


def read(data: bytes) -> np.ndarray:
    """Uint8 [28, 28]."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("L").resize((28, 28)))


def probabilities(session: onnxruntime.InferenceSession, tiles: Any) -> np.ndarray:
    """Maps tiles uint8 [N, 28, 28] to probabilities [N, 10]."""
    (logits,) = session.run(None, {"tiles": tiles})
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
