import os

import bentoml
import torch
from PIL.Image import Image

from benchmarks.serving.others import network

MODE = os.environ.get("MODE", "batch")
LOG = os.environ.get("LOG", "0") == "1"


@bentoml.service(workers=1, logging={"access": {"enabled": LOG}}, metrics={"enabled": LOG})
class Digits:
    def __init__(self) -> None:
        self.network = network.load()

    if MODE == "batch":

        @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
        def predict(self, file: list[Image]) -> list[dict]:
            with torch.inference_mode():
                return network.answers(self.network(torch.stack([network.tensor(i) for i in file])))
    elif MODE == "async":

        @bentoml.api
        async def predict(self, file: Image) -> dict:
            with torch.inference_mode():
                return network.answers(self.network(network.tensor(file).unsqueeze(0)))[0]
    else:

        @bentoml.api
        def predict(self, file: Image) -> dict:
            with torch.inference_mode():
                return network.answers(self.network(network.tensor(file).unsqueeze(0)))[0]
