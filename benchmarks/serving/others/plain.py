"""The handler that every tutorial writes: `uvicorn benchmarks.serving.others.plain:app`, at uvicorn's defaults."""

import torch
from fastapi import FastAPI, UploadFile

from benchmarks.serving.others import network

app = FastAPI()
model = network.load()


@app.post("/predict")
async def predict(file: UploadFile):
    image = network.read(await file.read())
    with torch.no_grad():
        probabilities = torch.softmax(model(image.unsqueeze(0)), dim=1)[0]
    digit = int(probabilities.argmax())
    return {"digit": digit, "confidence": float(probabilities[digit]), "probabilities": probabilities.tolist()}
