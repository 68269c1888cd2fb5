"""The documents of requests and answers as ``/openapi.json`` describes them; requests are checked by `imder.serve.features`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Sample(BaseModel):
    """Features of one sample."""

    features: dict[str, list[list[float]]] = Field(
        description="Frames for each modality: T lists of D numbers; one that is left out, null or empty is missing"
    )
    missing: list[str] = Field([], description="Modalities that count as missing although their features are given")
    id: str = Field(
        "clip",
        description="In a request of several clip-0, clip-1, ...; seeds the noise of recoveries; equal requests get equal answers",
    )


class Samples(BaseModel):
    """Features of several samples, whatever modalities each of them has."""

    samples: list[Sample]


class Weight(BaseModel):
    """How much recovery counts."""

    weight: float = Field(description="Weight of the recovery branch in the prediction, from 0 to 1")


class Prediction(BaseModel):
    """The prediction of a sample, clip or window. Keys that don't apply are left out."""

    start: float | None = Field(description="Start of the window in seconds; null for a clip")
    end: float | None = Field(description="End of the window in seconds; null for a clip")
    prediction: float | str | None = Field(
        description="A number, or the name of a class; null where nothing is available"
    )
    low: float | None = Field(None, description="Lower end of the interval (regression, with a calibration)")
    high: float | None = Field(None, description="Upper end of the interval")
    set: list[str] | None = Field(
        None, description="Classes of the prediction set (classification, with a calibration)"
    )
    probabilities: dict[str, float] | None = Field(None, description="Probability of each class")
    available: dict[str, bool] = Field(description="Which modalities the prediction rests on")
    coverage: dict[str, float] | None = Field(None, description="Share of the window that each modality's frames cover")
    recovered: dict[str, Weight] = Field(description="The missing modalities, for systems that recover")
    text: str | None = Field(None, description="The words, given or transcribed")
    id: str | None = Field(None, description="Id of the sample of features")


class Remark(BaseModel):
    """A damaged file of an upload that counts as missing, or features unlike those of training."""

    id: str | None = Field(None, description="Id of the sample of features")
    modality: str
    remark: str


class Predictions(BaseModel):
    """Predictions, in the order of the samples or windows."""

    request_id: str = Field(description="The header X-Request-ID of the request, or one that was made for it")
    predictions: list[Prediction]
    remarks: list[Remark]


class Error(BaseModel):
    """Why a request was not served."""

    error: str = Field(description="One sentence")
    request_id: str


FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "video": {
            "type": "string",
            "format": "binary",
            "description": "A video; its sound is used unless audio is given",
        },
        "audio": {"type": "string", "format": "binary", "description": "Sound"},
        "text": {"type": "string", "description": "The words; transcribed from the sound if the service can"},
        "ignore": {"type": "array", "items": {"type": "string"}, "description": "Modalities that count as missing"},
        "window": {"type": "number", "description": "Seconds of a window, for a time series"},
        "hop": {"type": "number", "description": "Seconds between windows; a quarter of the window by default"},
        "id": {"type": "string", "description": "Seeds the noise of recoveries"},
    },
}

TENSORS = (
    "A safetensors document with a tensor (T, D) of floats for each available modality; several samples name them 0.audio, "
    "1.audio, ...; ids are metadata: id, or 0, 1, ..."
)

_SENTENCES = {
    400: "The body is damaged or ends early",
    401: "A token is needed",
    403: "A page of another site, or a host name that isn't local",
    408: "The request arrived too slowly",
    413: "Too long, too large or too many",
    415: "Another format is needed",
    422: "A value doesn't fit",
    429: "Too much is waiting; the header Retry-After says when to try again",
    503: "Too many requests, or no answer in time; the header Retry-After says when to try again",
}


def responses(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The answers of an address that predicts."""
    errors: dict[int | str, dict[str, Any]] = {s: {"model": Error, "description": d} for s, d in _SENTENCES.items()}
    return {200: {"model": model}} | errors


def request_body(model: type[BaseModel], form: dict[str, Any] | None = None) -> dict[str, Any]:
    """The body of a request: a JSON document, tensors, or a form."""
    document = model.model_json_schema(ref_template="#/components/schemas/{model}")
    document.pop("$defs", None)
    tensors = {"type": "string", "format": "binary", "description": TENSORS}
    content: dict[str, Any] = {
        "application/json": {"schema": document},
        "application/octet-stream": {"schema": tensors},
    }
    if form is not None:
        content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}
