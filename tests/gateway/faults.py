"""An upstream that breaks in every way we know of, on a raw socket.

Each fault is a coroutine over the connection's writer, called once the request has been read; the model's name chooses
it. `docs/streaming.md` lists them all with what the client sees and what the row says.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Fault = Callable[[asyncio.StreamWriter], Awaitable[None]]
FAULTS: dict[str, Fault] = {}


def fault(make: Fault) -> Fault:
    FAULTS[make.__name__.replace("_", "-")] = make
    return make


def head(status: str = "200 OK", kind: str = "text/event-stream", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunk(content: str | None = None, finish_reason: str | None = None, **more: Any) -> str:
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    fields = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}
    return json.dumps(fields, ensure_ascii=False)


def event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
WORDS = event(chunk("Hello")) + event(chunk(" wörld")) + event(chunk(" 🌍"))
STOP = event(chunk(finish_reason="stop"))
USAGE_CHUNK = event(chunk(choices=[], usage=USAGE))
DONE = b"data: [DONE]\n\n"
WHOLE = WORDS + STOP + USAGE_CHUNK + DONE
ANSWER = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()


async def stall() -> None:
    await asyncio.Event().wait()


# --- before an answer -------------------------------------------------------------------------------------------


@fault
async def no_answer(_writer: asyncio.StreamWriter) -> None:
    await stall()


@fault
async def closed_before_head(_writer: asyncio.StreamWriter) -> None:
    return


@fault
async def closed_in_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-ty")


@fault
async def no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


@fault
async def redirect(writer: asyncio.StreamWriter) -> None:
    writer.write(head("302 Found", location="http://127.0.0.1:9/elsewhere", content_length="0"))


@fault
async def refused_400(writer: asyncio.StreamWriter) -> None:
    body = b'{"error":{"message":"No such grammar.","type":"bad","param":"guided","code":"g1"}}'
    writer.write(head("400 Bad Request", "application/json", content_length=str(len(body))) + body)


@fault
async def refused_429(writer: asyncio.StreamWriter) -> None:
    body = b'{"error":{"message":"Slow down.","type":"rate","param":null,"code":"rate"}}'
    writer.write(
        head("429 Too Many Requests", "application/json", content_length=str(len(body)), retry_after="3") + body
    )


@fault
async def refused_500_html(writer: asyncio.StreamWriter) -> None:
    writer.write(head("500 Internal Server Error", "text/html", content_length="6") + b"<html>")


@fault
async def refused_503_empty(writer: asyncio.StreamWriter) -> None:
    writer.write(head("503 Service Unavailable", content_length="0"))


@fault
async def refused_with_detail(writer: asyncio.StreamWriter) -> None:
    body = b'{"detail":"Model is loading"}'
    writer.write(head("503 Service Unavailable", "application/json", content_length=str(len(body))) + body)


@fault
async def page_instead_of_stream(writer: asyncio.StreamWriter) -> None:
    writer.write(head(kind="text/html") + b"<html>Sign in</html>")


@fault
async def json_instead_of_stream(writer: asyncio.StreamWriter) -> None:
    writer.write(head(kind="application/json") + ANSWER)


@fault
async def stall_before_first_token(writer: asyncio.StreamWriter) -> None:
    writer.write(head())
    await writer.drain()
    await stall()


@fault
async def empty_stream(writer: asyncio.StreamWriter) -> None:
    writer.write(head())


@fault
async def late_429(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + event('{"error":{"message":"Too many.","type":"rate_limit","code":429}}'))


@fault
async def error_first(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + event('{"error":{"message":"No memory.","type":"server_error","code":"oom"}}') + DONE)


# --- in the middle ----------------------------------------------------------------------------------------------


@fault
async def stall_in_mid_stream(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WORDS)
    await writer.drain()
    await stall()


@fault
async def cut_between_events(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WORDS)


@fault
async def cut_in_an_event(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WORDS + STOP[:20])


@fault
async def cut_in_a_character(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + event(chunk("Hello")) + event(chunk(" 🌍")).split(b"\x8c\x8d")[0])


@fault
async def reset(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WORDS)
    await writer.drain()
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@fault
async def chunked_and_cut(writer: asyncio.StreamWriter) -> None:
    writer.write(head(transfer_encoding="chunked") + f"{len(WORDS):x}\r\n".encode() + WORDS + b"\r\nff\r\ndata:")


@fault
async def no_json(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WORDS + b"data: {oops\n\n" + STOP + DONE)


@fault
async def json_but_no_object(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WORDS + b"data: [1]\n\n" + STOP + DONE)


@fault
async def error_in_mid_stream(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WORDS + event('{"error":{"message":"No memory.","type":"server_error","code":"oom"}}'))


@fault
async def no_finish_reason(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WORDS)


# --- odd, but whole ---------------------------------------------------------------------------------------------


@fault
async def no_done(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WORDS + STOP + USAGE_CHUNK)


@fault
async def no_last_blank_line(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WHOLE.rstrip(b"\n"))


@fault
async def no_usage(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WORDS + STOP + DONE)


@fault
async def usage_of_wrong_types(writer: asyncio.StreamWriter) -> None:
    usage = {"prompt_tokens": "7", "completion_tokens": None, "total_tokens": -1}
    writer.write(head() + WORDS + STOP + event(chunk(choices=[], usage=usage)) + DONE)


@fault
async def usage_in_every_chunk(writer: asyncio.StreamWriter) -> None:
    words = b"".join(event(chunk(word, usage=USAGE)) for word in ("Hello", " wörld", " 🌍"))
    writer.write(head() + words + STOP + DONE)


@fault
async def byte_by_byte(writer: asyncio.StreamWriter) -> None:
    writer.write(head())
    for byte in WHOLE:
        writer.write(bytes([byte]))
        await writer.drain()


@fault
async def carriage_returns(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WHOLE.replace(b"\n", b"\r\n"))


@fault
async def no_space_after_colon(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WHOLE.replace(b"data: ", b"data:"))


@fault
async def comments(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + b": PROCESSING\n\n" + WORDS + b": ping\n\n" + STOP + USAGE_CHUNK + DONE)


@fault
async def event_id_and_retry_lines(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + b"retry: 100\n\n" + WHOLE.replace(b"data:", b"event: message\nid: 7\ndata:"))


@fault
async def done_twice_and_more(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + WHOLE + DONE + WORDS)


@fault
async def empty_choices_first(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + event(chunk(choices=[], prompt_filter_results=[])) + WHOLE)


@fault
async def gzipped(writer: asyncio.StreamWriter) -> None:
    writer.write(head(content_encoding="gzip") + gzip.compress(WHOLE))


@fault
async def one_large_event(writer: asyncio.StreamWriter) -> None:
    writer.write(head() + event(chunk("x" * 1_000_000)) + WHOLE)


# --- answers that are not streamed ------------------------------------------------------------------------------


@fault
async def whole_but_no_json(writer: asyncio.StreamWriter) -> None:
    writer.write(head(kind="application/json") + b'{"id":')


@fault
async def whole_but_shorter_than_said(writer: asyncio.StreamWriter) -> None:
    writer.write(head(kind="application/json", content_length="5000") + ANSWER)


@fault
async def whole_but_no_completion(writer: asyncio.StreamWriter) -> None:
    writer.write(head(kind="application/json") + b'{"status":"ok"}')


@fault
async def whole_but_an_error(writer: asyncio.StreamWriter) -> None:
    writer.write(head(kind="application/json") + b'{"error":{"message":"No memory.","code":"oom"}}')


@fault
async def whole_but_stalled(writer: asyncio.StreamWriter) -> None:
    writer.write(head(kind="application/json", content_length="5000") + ANSWER[:20])
    await writer.drain()
    await stall()


@contextmanager
def faulty_upstream(faults: Mapping[str, Fault] = FAULTS) -> Iterator[str]:
    """Serve all faults from a thread, by the model's name; yields the base URL."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    port = 0
    stopping = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line[15:]) for line in request.lower().split(b"\r\n") if line.startswith(b"content-length")
            )
            body = json.loads(await reader.readexactly(length))
            work = asyncio.ensure_future(faults[body["model"]](writer))
            gone = asyncio.ensure_future(reader.read())
            await asyncio.wait((work, gone, asyncio.ensure_future(stopping.wait())), return_when="FIRST_COMPLETED")
            work.cancel()
            gone.cancel()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        nonlocal port
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        started.set()
        await stopping.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            await asyncio.wait((task,))

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        loop.close()
