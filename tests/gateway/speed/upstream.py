"""An upstream that answers at once with bytes made beforehand, and a client that asks it as fast: plain sockets."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WORDS = 199
_USAGE = {"prompt_tokens": 20, "completion_tokens": WORDS, "total_tokens": 20 + WORDS}


def _chunk(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> str:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return f"data: {json.dumps({**head, 'choices': choices, 'usage': usage})}\n\n"


def _choice(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _stream() -> bytes:
    """202 events."""
    first = _chunk([_choice({"role": "assistant", "content": "Yes"})])
    words = [_chunk([_choice({"content": f" word{i}"})]) for i in range(1, WORDS)]
    return "".join([first, *words, _chunk([_choice({}, "stop")]), _chunk([], _USAGE), "data: [DONE]\n\n"]).encode()


def _whole() -> bytes:
    message = {"role": "assistant", "content": "Yes, indeed.", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
    return json.dumps({**head, "choices": [choice], "usage": _USAGE}).encode()


def _http(body: bytes, content_type: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


ANSWERS = {False: _http(_whole(), "application/json"), True: _http(_stream(), "text/event-stream")}


@contextmanager
def upstream() -> Iterator[str]:
    """Serve from a thread on a free port; yields the URL without `/v1`."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(_serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.run_until_complete(_end(server))
        loop.close()


async def _end(server: asyncio.Server) -> None:
    """Close it, and wait for its connections, which the relays have closed by now."""
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)  # the transports close


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            body = await _message(reader)
            writer.write(ANSWERS[b'"stream":true' in body.replace(b" ", b"")])
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        pass  # the relay is done, or the test is
    finally:
        writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    return await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))


async def ask(port: int, model: str, *, stream: bool, times: int, clients: int = 8) -> None:
    """Ask a relay `times` times over `clients` connections."""
    fields = {"model": model, "messages": [{"role": "user", "content": "Are you there?"}], "stream": stream}
    body = json.dumps(fields).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n"
    request = f"{head}content-type: application/json\r\n\r\n".encode() + body

    async def client(asked: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(asked):
            writer.write(request)
            status = await reader.readline()
            assert b" 200 " in status, status
            await _answer(reader)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client(times // clients) for _ in range(clients)))


async def _answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"content-length:" in head:
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        return
    while size := int(await reader.readline(), 16):
        await reader.readexactly(size + 2)
    await reader.readline()
