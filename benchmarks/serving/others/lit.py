"""LitServe: `python -m benchmarks.serving.others.lit PORT`."""

import os
import sys

import litserve
import torch
from fastapi import Request

from benchmarks.serving.others import network


class Digits(litserve.LitAPI):
    def setup(self, device):
        self.network = network.load()

    def decode_request(self, request: Request):
        return network.read(request["file"].file.read())

    def batch(self, inputs):
        return torch.stack(inputs)

    def predict(self, images):
        with torch.inference_mode():
            return network.answers(self.network(images))

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    bs = int(os.environ.get("BS", "64"))
    api = Digits(max_batch_size=bs, batch_timeout=float(os.environ.get("BT", "0.001")))
    if bs == 1:
        Digits.predict = lambda self, image: network.answers(self.network(image.unsqueeze(0)))[0]
        Digits.batch = litserve.LitAPI.batch
        Digits.unbatch = litserve.LitAPI.unbatch
    server = litserve.LitServer(
        api, accelerator="cpu", devices=1, workers_per_device=1, fast_queue=bool(int(os.environ.get("FQ", "1")))
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level=os.environ.get("LL", "warning"),
        generate_client_file=False,
    )
