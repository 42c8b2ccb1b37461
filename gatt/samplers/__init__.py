"""Where sampled replies come from: a model in this process, or any OpenAI-compatible endpoint."""

from __future__ import annotations

from gatt.samplers.base import Draw, Failure, Request, Sampler

__all__ = ["Draw", "Failure", "Request", "Sampler"]
