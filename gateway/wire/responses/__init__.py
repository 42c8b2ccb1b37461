"""OpenAI's Responses API in terms of chat completions: requests on the way in, objects and typed events on the way out.

What is supported and what is refused is listed in docs/responses.md.
"""
