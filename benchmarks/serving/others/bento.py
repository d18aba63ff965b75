"""BentoML: `bentoml serve benchmarks.serving.others.bento:Single`, or `:Batching`.

One worker for the one core. The access log and the metrics are on by default and cost a tenth and more: they are off.
A handler of a millisecond is quicker as a coroutine than in BentoML's thread pool; `Batching` is its adaptive batching.
"""

import bentoml
import torch
from PIL.Image import Image

from benchmarks.serving.others import network

SETTINGS = {"workers": 1, "logging": {"access": {"enabled": False}}, "metrics": {"enabled": False}}


@bentoml.service(**SETTINGS)
class Single:
    def __init__(self) -> None:
        self.network = network.load()

    @bentoml.api
    async def predict(self, file: Image) -> dict:
        with torch.inference_mode():
            return network.answers(self.network(network.tensor(file).unsqueeze(0)))[0]


@bentoml.service(**SETTINGS)
class Batching:
    def __init__(self) -> None:
        self.network = network.load()

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    async def predict(self, file: list[Image]) -> list[dict]:
        with torch.inference_mode():
            return network.answers(self.network(torch.stack([network.tensor(image) for image in file])))
