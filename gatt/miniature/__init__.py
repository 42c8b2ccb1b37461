"""A small world of facts and instructions, and a small Llama for it: the gateway's embedded default models."""
