"""Ghost Attention: how a chat model is tuned so that saying an instruction once is enough (arXiv 2307.09288, 3.3)."""
