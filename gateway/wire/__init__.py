"""OpenAI's wire format, as bytes in and bytes out."""
