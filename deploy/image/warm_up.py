"""Import what a gateway imports when it starts and answers, so that its bytecode is in the image."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

from gateway.accounting.tokens import TiktokenCounter

TiktokenCounter("gpt-4o").text("Hello.")
litellm.completion("openai/gpt-4o", [{"role": "user", "content": "Hello."}], mock_response="Hello.")
