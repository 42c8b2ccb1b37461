"""gattway: an OpenAI-compatible gateway that keeps an instruction alive and says what that costs."""

__version__ = "0.1.0"
