"""`POST /v1/responses`, answered as a chat completion is; and the responses that the ledger keeps."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request, Response

from gateway.chat import Chat
from gateway.errors import BadRequest, GatewayError
from gateway.routes.client import arrival_of, read_body, unless_client_leaves
from gateway.routes.schema import completes, takes
from gateway.routes.stream import event_stream
from gateway.stored_responses import StoredResponses, completion_of, created_at
from gateway.wire.request import body_of
from gateway.wire.responses.answer import Answer
from gateway.wire.responses.errors import in_responses_words
from gateway.wire.responses.request import parse, shown
from strategies.instruction import text_of


def router(chat: Chat, kept: StoredResponses, max_body_bytes: int) -> APIRouter:
    """The routes over one `Chat` and what the ledger keeps of its answers."""
    routes = APIRouter()

    @routes.post(
        "/v1/responses",
        openapi_extra=takes("ResponsesRequest"),
        responses=completes("Response", "a typed event of the Responses API"),
    )
    async def respond(request: Request) -> Response:
        """OpenAI's Responses API, streaming and not (https://platform.openai.com/docs/api-reference/responses)."""
        arrival = arrival_of(request.scope)
        body = body_of(await read_body(request.receive, max_body_bytes))
        previous_id = body.get("previous_response_id")
        earlier = await kept.earlier(previous_id, arrival.key) if previous_id is not None else None
        asked = parse(body, earlier.carried if earlier else (), keeps=kept.are_kept)
        continued = None
        if earlier is not None:
            continued = earlier.continued_by(asked.chat.messages, instructed=asked.chat.instructed)
        try:
            exchange = await unless_client_leaves(request.receive, chat.complete(asked.chat, arrival, continued))
        except GatewayError as error:
            raise in_responses_words(error) from None
        answer = Answer(arrival.request_id, asked.chat.model, asked.shown)
        if not asked.chat.stream:
            whole = orjson.dumps(answer.whole(orjson.loads(exchange.body)))
            return Response(whole, media_type="application/json", headers=exchange.headers)
        return event_stream(answer.events(exchange.stream()), exchange.headers)

    @routes.get("/v1/responses/{response_id}")
    async def get(request: Request, response_id: str) -> Response:
        """A response as it was answered; of its request only the instructions are kept."""
        row, content = await kept.get(response_id, request.state.key)
        told = {"instructions": text_of(content.messages[0].get("content"))} if content.instructed else {}
        answer = Answer(row.request_id, row.model, {**shown(told), "store": True}, created_at(row))
        return Response(orjson.dumps(answer.whole(completion_of(row, content))), media_type="application/json")

    @routes.delete("/v1/responses/{response_id}")
    @routes.get("/v1/responses/{response_id}/input_items")
    @routes.post("/v1/responses/{response_id}/cancel")
    async def not_here(request: Request, response_id: str) -> Response:
        """Nothing runs in the background, and words are erased by conversation."""
        await kept.get(response_id, request.state.key)
        raise BadRequest(
            "A kept response can be read and gone on from, and nothing else. Its words are erased with its whole "
            "conversation, by those who run the gateway; 'store': false keeps none.",
            param="response_id",
            code="unsupported_route",
        )

    return routes
