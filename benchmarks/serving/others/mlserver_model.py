"""MLServer: a custom runtime, as its documentation describes it, for `mlserver start FOLDER`.

With one core, parallel workers are off: they would copy every request to another process. The debug mode, the access
log and the metrics are on by default and cost much: they are off. `max_batch_size` turns its adaptive batching on.
"""

import base64

import compiled
import numpy as np
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Digits(MLModel):
    async def load(self) -> bool:
        self.session = compiled.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tiles = np.stack([compiled.read(base64.b64decode(picture)) for picture in payload.inputs[0].data])
        rows = compiled.probabilities(self.session, tiles)
        size = len(rows)
        outputs = [
            ResponseOutput(name="digit", shape=[size], datatype="INT64", data=rows.argmax(axis=1).tolist()),
            ResponseOutput(name="confidence", shape=[size], datatype="FP32", data=rows.max(axis=1).tolist()),
            ResponseOutput(name="probabilities", shape=[size, 10], datatype="FP32", data=rows.ravel().tolist()),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
