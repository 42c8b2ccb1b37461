"""Going on from a response by its id, where the ledger keeps what was said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from gateway.access.keys import hash_of
from tests.gateway.scripted import Script, Scripted, scripted

KEYS = "".join(f'[keys.{name}]\nhash = "{hash_of(name)}"\nadmin = true\n' for name in ("alice", "bob"))


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """A gateway that keeps content, with two keys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATTWAY_LEDGER_KEY", "k" * 40)
        patch.setenv("GATTWAY_LEDGER__STORE_CONTENT", "true")
        with scripted(tmp_path_factory.mktemp("stored"), KEYS) as gateway:
            yield gateway


@pytest.fixture
def alice(keeping: Scripted) -> openai.OpenAI:
    keeping.upstream.script = Script()
    return keeping.client.with_options(api_key="alice")


def create(client: openai.OpenAI, stream: bool, **request: Any) -> tuple[Any, Any]:
    """A response, streamed or not, and the headers that it came with."""
    raw = client.responses.with_raw_response.create(model="ab", stream=stream, **request)
    answer = raw.parse()
    if stream:
        answer = list(answer)[-1].response
    return answer, raw.headers


@pytest.mark.parametrize("stream", [False, True])
def test_three_turns_chained_by_id_keep_arm_conversation_turn_and_instruction(
    keeping: Scripted, alice: openai.OpenAI, stream: bool
) -> None:
    previous, seen = None, []
    for turn, text in enumerate(("one", "two", "three"), 1):
        more = {"previous_response_id": previous} if previous else {}
        answer, headers = create(alice, stream, input=text, instructions="Speak French.", **more)
        assert answer.output_text == "Hello"
        assert (answer.previous_response_id, answer.store) == (previous, True)
        assert headers["x-gattway-turn"] == str(turn)
        seen.append((headers["x-gattway-conversation-id"], headers["x-gattway-arm"]))
        previous = answer.id
    assert len(set(seen)) == 1
    sent = keeping.upstream.bodies[-1]
    assert "previous_response_id" not in sent
    words = [message["content"] for message in sent["messages"]]
    if seen[0][1] == "once":
        assert words == ["Speak French.", "one", "Hello", "two", "Hello", "three"]
    else:
        assert words == [f"{said}\n\nSpeak French." if said != "Hello" else said for said in
                         ("one", "Hello", "two", "Hello", "three")]  # fmt: skip
    rows = _rows(keeping, seen[0][0])
    assert [row["identity_source"] for row in rows] == ["new", "previous_response_id", "previous_response_id"]
    assert [row["parent_request_id"] for row in rows] == [None, *(row["request_id"] for row in rows[:-1])]


def test_instructions_do_not_carry_over_and_other_ones_stay_in_the_conversation(
    keeping: Scripted, alice: openai.OpenAI
) -> None:
    first, headers = create(alice, False, input="one", instructions="Speak French.")
    second, without = create(alice, False, input="two", previous_response_id=first.id)
    assert [message["content"] for message in keeping.upstream.bodies[-1]["messages"]] == ["one", "Hello", "two"]
    _, another = create(alice, False, input="three", instructions="Rhyme.", previous_response_id=second.id)
    told = [message["content"] for message in keeping.upstream.bodies[-1]["messages"]]
    assert "French" not in str(told)
    assert "Rhyme." in str(told)
    assert [without["x-gattway-turn"], another["x-gattway-turn"]] == ["2", "3"]
    for name in ("x-gattway-conversation-id", "x-gattway-arm"):
        assert headers[name] == without[name] == another[name]


def test_tool_calls_are_gone_on_from_with_their_outputs_alone(keeping: Scripted, alice: openai.OpenAI) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    keeping.upstream.script = Script(
        message={"role": "assistant", "content": None, "tool_calls": [call]}, finish_reason="tool_calls"
    )
    first = alice.responses.create(model="m", input="one")
    keeping.upstream.script = Script()
    output: Any = [{"type": "function_call_output", "call_id": "c1", "output": "3"}]
    alice.responses.create(model="m", input=output, previous_response_id=first.id)
    sent = keeping.upstream.bodies[-1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"][0]["id"] == "c1"


def test_a_kept_response_is_got_again_as_it_was(alice: openai.OpenAI) -> None:
    made = alice.responses.create(model="m", input="one", instructions="Speak French.")
    again = alice.responses.retrieve(made.id)
    assert (again.id, again.output_text, again.status) == (made.id, "Hello", "completed")
    assert (again.instructions, again.store) == ("Speak French.", True)
    assert again.usage == made.usage
    assert abs(again.created_at - made.created_at) <= 1


def test_nobody_goes_on_from_what_is_unknown_anothers_or_not_to_be_kept(
    keeping: Scripted, alice: openai.OpenAI
) -> None:
    made = alice.responses.create(model="m", input="one")
    unkept = alice.responses.create(model="m", input="one", store=False)
    assert unkept.store is False
    bob = keeping.client.with_options(api_key="bob")
    for client, response_id in (
        (alice, unkept.id),
        (bob, made.id),
        (alice, "resp_none"),
        (alice, "req_x"),
        (alice, ""),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="m", input="two", previous_response_id=response_id)
        assert refused.value.param == "previous_response_id"
        assert refused.value.code == "previous_response_not_found"
    with pytest.raises(openai.NotFoundError):
        alice.responses.retrieve(unkept.id)
    with pytest.raises(openai.NotFoundError):
        bob.responses.retrieve(made.id)
    with pytest.raises(openai.BadRequestError, match="erased with its whole conversation"):
        alice.responses.delete(made.id)
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        alice.responses.create(model="m", input="two", conversation="conv_1")


def _rows(gateway: Scripted, conversation_id: str) -> list[dict[str, Any]]:

    path = f"{gateway.url}/api/conversations/{conversation_id}?key=alice"
    turns: list[dict[str, Any]] = httpx.get(path, headers={"authorization": "Bearer alice"}).json()["turns"]
    return turns
