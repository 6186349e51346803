"""OpenAI's own Python client, unmodified, against this host: models, agents, streams, tools,
vectors, and the exceptions that its users catch. The arguments are the host's address, the
directory that the assistant writes to, and a token."""

import json
import pathlib
import sys

import openai

ADDRESS, NOTES, TOKEN = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
ANSWER = "So it is, and no more."
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}

client = openai.OpenAI(base_url=f"{ADDRESS}/v1", api_key=TOKEN, max_retries=0, timeout=60)


def asking(text):
    return [{"role": "user", "content": text}]


def same(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def fails(expected, status, call):
    try:
        call()
    except expected as error:
        same(error.status_code, status)
        assert error.message, "an error says what it is"
        return error
    raise AssertionError(f"nothing failed where {expected.__name__} was expected")


def chat():
    for model in ("demo", "agent:assistant"):
        answer = client.chat.completions.create(model=model, messages=asking("Is it so?"))
        same(answer.choices[0].message.content, ANSWER)
        same(answer.choices[0].finish_reason, "stop")
        same(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)


def stream():
    for model in ("demo", "agent:assistant"):
        chunks = list(
            client.chat.completions.create(
                model=model,
                messages=asking("Is it so?"),
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        assert len(said) > 2, f"{model}: it came in one piece"
        same("".join(said), ANSWER)
        assert chunks[-1].usage.total_tokens > 0
        with client.chat.completions.stream(model=model, messages=asking("Is it so?")) as events:
            same(events.get_final_completion().choices[0].message.content, ANSWER)


def tools_of_the_agent():
    for streamed in (False, True):
        for name in ("py-a.txt", "py-b.txt"):
            (NOTES / name).unlink(missing_ok=True)
        answer = client.chat.completions.create(
            model="agent:assistant", messages=asking("write py-a.txt and py-b.txt"), stream=streamed
        )
        if streamed:
            text = "".join(chunk.choices[0].delta.content or "" for chunk in answer)
        else:
            text = answer.choices[0].message.content
        same(text, "Both are written.")
        same((NOTES / "py-b.txt").read_text(), "two")


def tools_of_the_client():
    messages = asking("What is the weather in Oslo?")
    answer = client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER])
    same(answer.choices[0].finish_reason, "tool_calls")
    call = answer.choices[0].message.tool_calls[0]
    same((call.function.name, json.loads(call.function.arguments)), ("weather", {"city": "Oslo"}))
    with client.chat.completions.stream(model="demo", messages=messages, tools=[WEATHER]) as events:
        streamed = events.get_final_completion().choices[0].message.tool_calls[0]
    same(json.loads(streamed.function.arguments), {"city": "Oslo"})
    messages.append(answer.choices[0].message)
    messages.append({"role": "tool", "tool_call_id": call.id, "content": '{"sky": "clear"}'})
    answer = client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER])
    same(answer.choices[0].message.content, "It is clear.")


def embeddings():
    texts = ["the tide comes in", "and goes out"]
    # The client asks for base64 where its user says nothing.
    packed = client.embeddings.create(model="demo", input=texts)
    plain = client.embeddings.create(model="demo", input=texts, encoding_format="float")
    same([len(one.embedding) for one in packed.data], [8, 8])
    for one, other in zip(packed.data, plain.data):
        assert all(abs(a - b) < 1e-6 for a, b in zip(one.embedding, other.embedding))


def models():
    ids = [model.id for model in client.models.list()]
    assert {"demo", "agent:assistant"} <= set(ids), ids
    same(client.models.retrieve("agent:assistant").id, "agent:assistant")


def errors():
    def create(model, **more):
        return client.chat.completions.create(model=model, messages=asking("x"), **more)

    for more in ({}, {"stream": True}):
        error = fails(openai.NotFoundError, 404, lambda: create("absent", **more))
        same(error.code, "model_not_found")
        fails(openai.NotFoundError, 404, lambda: create("agent:nobody", **more))
        fails(openai.InternalServerError, 503, lambda: create("stopped", **more))
    fails(openai.InternalServerError, 503, lambda: create("agent:stranded"))
    fails(openai.BadRequestError, 400, lambda: create("agent:assistant", tools=[WEATHER]))
    fails(openai.NotFoundError, 404, lambda: client.models.retrieve("nothing"))
    stranger = openai.OpenAI(base_url=f"{ADDRESS}/v1", api_key="nonsense", max_retries=0)
    fails(openai.AuthenticationError, 401, stranger.models.list)
    for model in ("breaks", "agent:broken", "agent:stranded"):
        try:
            list(create(model, stream=True))
        except openai.APIError as error:
            assert error.message
        else:
            raise AssertionError(f"{model}: a stream that broke ended well")


for check in (chat, stream, tools_of_the_agent, tools_of_the_client, embeddings, models, errors):
    check()
    print(f"openai {openai.__version__}: {check.__name__}: well", flush=True)
