"""A Hugging Face causal LM served in this process, with continuous batching and prefix reuse.

Importing this package is cheap: torch and transformers come with `LocalModel.load`.

    model        a folder becomes a `LocalModel`; `loading` says what is wrong when it does not
    upstream     OpenAI's bodies in, OpenAI's bytes out: `request`, `messages`, `completion`
    engine       one thread steps all answers together: `attention`, `kv`, `sampling`, `text`
    generation   one answer's way from that thread to the event loop
"""

from gateway.upstreams.local.generation import Generation, Piece
from gateway.upstreams.local.model import LocalModel
from gateway.upstreams.local.sampling import Sampling
from gateway.upstreams.local.upstream import LocalUpstream

__all__ = ["Generation", "LocalModel", "LocalUpstream", "Piece", "Sampling"]
