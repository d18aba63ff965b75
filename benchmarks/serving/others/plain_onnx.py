"""The handler of plain.py over ONNX Runtime: `uvicorn plain_onnx:app`, at uvicorn's defaults."""

import compiled
from fastapi import FastAPI, UploadFile

app = FastAPI()
session = compiled.load()


@app.post("/predict")
async def predict(file: UploadFile):
    row = compiled.probabilities(session, compiled.read(await file.read())[None])[0].tolist()
    confidence = max(row)
    return {"digit": row.index(confidence), "confidence": confidence, "probabilities": row}
