"""LitServe: `python -m benchmarks.serving.others.lit PORT BATCH`.

Set up as its documentation advises where speed matters: fast_queue for more than a hundred requests a second, logging
from warnings on, no client file. With one core it has one worker and one API server. A BATCH above 1 turns its dynamic
batching on; a millisecond is the longest that a lone request then waits.
"""

import sys
from typing import Any

import litserve
import torch
from fastapi import Request

from benchmarks.serving.others import network


class Single(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.network = network.load()

    def decode_request(self, request: Request) -> torch.Tensor:
        return network.read(request["file"].file.read())

    def predict(self, image: torch.Tensor) -> dict[str, object]:
        with torch.inference_mode():
            return network.answers(self.network(image.unsqueeze(0)))[0]

    def encode_response(self, output: dict[str, object]) -> dict[str, object]:
        return output


class Batching(Single):
    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(inputs)

    def predict(self, images: torch.Tensor) -> list[dict[str, object]]:
        with torch.inference_mode():
            return network.answers(self.network(images))

    def unbatch(self, output: list[dict[str, object]]) -> list[Any]:
        return output


if __name__ == "__main__":
    port, batch = (int(argument) for argument in sys.argv[1:])
    api = Batching(max_batch_size=batch, batch_timeout=0.001) if batch > 1 else Single()
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1, fast_queue=True)
    server.run(host="127.0.0.1", port=port, num_api_servers=1, log_level="warning", generate_client_file=False)
