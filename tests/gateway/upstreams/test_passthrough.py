"""Connections to an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.errors import UpstreamUnavailable
from gateway.sections.upstreams import OpenAIUpstreamSettings
from gateway.upstreams.passthrough import PassthroughUpstream

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
BODY = {"messages": [{"role": "user", "content": "Hi"}]}


class Server:
    """Answers `answers` requests on each connection, and closes it without a word at the next."""

    def __init__(self, answers: int) -> None:
        self.answers = answers
        self.requests = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for nth in range(self.answers + 1):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                assert json.loads(await reader.readexactly(length)) == BODY
                self.requests += 1
                if nth == self.answers:
                    return
                writer.write(ANSWER)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


async def ask(upstream: PassthroughUpstream) -> bytes:
    reply = await upstream.send(BODY, stream=False, headers={})
    body = b"".join([chunk async for chunk in reply.chunks])
    await reply.aclose()
    return body


async def test_an_idle_connection_that_the_server_has_closed_is_not_an_error() -> None:
    server = Server(answers=1)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    upstream = PassthroughUpstream(OpenAIUpstreamSettings(kind="openai", base_url=f"http://127.0.0.1:{port}"))
    assert [await ask(upstream) for _ in range(3)] == [b"{}"] * 3
    assert server.requests == 5  # the second and the third found their connection closed
    await upstream.close()
    listening.close()


async def test_a_fresh_connection_that_is_closed_without_an_answer_is() -> None:
    server = Server(answers=0)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    upstream = PassthroughUpstream(OpenAIUpstreamSettings(kind="openai", base_url=f"http://127.0.0.1:{port}"))
    with pytest.raises(UpstreamUnavailable):
        await ask(upstream)
    assert server.requests == 1
    await upstream.close()
    listening.close()
