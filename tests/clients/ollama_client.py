"""Ollama's own Python client, unmodified, against this host: models, agents, streams, tools,
vectors, and the exceptions that its users catch. The arguments are the host's address, the
directory that the assistant writes to, and a token."""

import importlib.metadata
import pathlib
import sys

import ollama

ADDRESS, NOTES, TOKEN = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
ANSWER = "So it is, and no more."

client = ollama.Client(host=ADDRESS, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)


def weather(city: str) -> str:
    """The weather of a city.

    Args:
      city: its name
    """
    return f'{{"sky": "clear", "city": "{city}"}}'


def asking(text):
    return [{"role": "user", "content": text}]


def same(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def fails(status, call):
    try:
        call()
    except ollama.ResponseError as error:
        same(error.status_code, status)
        assert error.error, "an error says what it is"
        return
    raise AssertionError(f"nothing failed where {status} was expected")


def chat():
    for model in ("demo", "agent:assistant"):
        answer = client.chat(model=model, messages=asking("Is it so?"))
        same(answer.message.content, ANSWER)
        same((answer.done, answer.done_reason), (True, "stop"))
        assert answer.eval_count > 0 and answer.total_duration > 0
    same(client.generate(model="demo", prompt="Is it so?").response, ANSWER)


def stream():
    for model in ("demo", "agent:assistant"):
        parts = list(client.chat(model=model, messages=asking("Is it so?"), stream=True))
        assert len(parts) > 2, f"{model}: it came in one piece"
        same("".join(part.message.content or "" for part in parts), ANSWER)
        same([part.done for part in parts], [False] * (len(parts) - 1) + [True])
    parts = list(client.generate(model="demo", prompt="Is it so?", stream=True))
    same("".join(part.response or "" for part in parts), ANSWER)
    same(parts[-1].done, True)


def tools_of_the_agent():
    (NOTES / "py-a.txt").unlink(missing_ok=True)
    messages = asking("write py-a.txt and py-b.txt")
    same(client.chat(model="agent:assistant", messages=messages).message.content, "Both are written.")
    same((NOTES / "py-a.txt").read_text(), "one")


def tools_of_the_client():
    messages = asking("What is the weather in Oslo?")
    answer = client.chat(model="demo", messages=messages, tools=[weather])
    call = answer.message.tool_calls[0].function
    same((call.name, dict(call.arguments)), ("weather", {"city": "Oslo"}))
    parts = client.chat(model="demo", messages=messages, tools=[weather], stream=True)
    calls = [call for part in parts for call in part.message.tool_calls or []]
    same([dict(call.function.arguments) for call in calls], [{"city": "Oslo"}])
    messages.append(answer.message)
    result = weather(**call.arguments)
    messages.append({"role": "tool", "tool_name": "weather", "content": result})
    answer = client.chat(model="demo", messages=messages, tools=[weather])
    same(answer.message.content, "It is clear.")


def embeddings():
    both = client.embed(model="demo", input=["the tide comes in", "and goes out"]).embeddings
    same([len(one) for one in both], [8, 8])
    one = client.embeddings(model="demo", prompt="the tide comes in").embedding
    same(list(one), list(both[0]))


def models():
    names = [model.model for model in client.list().models]
    assert "agent:assistant" in names and any(name.startswith("demo") for name in names), names
    assert client.show("demo").details is not None
    assert client.show("agent:assistant").details.family == "agent"
    client.ps()
    same(client.pull("demo").status, "success")
    assert [step.status for step in client.pull("demo", stream=True)][-1] == "success"


def errors():
    def ask(model, **more):
        answer = client.chat(model=model, messages=asking("x"), **more)
        return list(answer) if more else answer

    for more in ({}, {"stream": True}):
        fails(404, lambda: ask("absent", **more))
        fails(404, lambda: ask("agent:nobody", **more))
        fails(503, lambda: ask("stopped", **more))
    fails(503, lambda: ask("agent:stranded"))
    fails(403, lambda: client.pull("gpt-oss:120b-cloud"))
    stranger = ollama.Client(host=ADDRESS, headers={"Authorization": "Bearer nonsense"})
    fails(401, lambda: stranger.chat(model="demo", messages=asking("x")))
    fails(401, ollama.Client(host=ADDRESS).list)
    fails(404, lambda: client.embed(model="absent", input="x"))
    fails(404, lambda: client.show("absent"))
    for model in ("breaks", "agent:broken", "agent:stranded"):
        try:
            ask(model, stream=True)
        except ollama.ResponseError as error:
            assert error.error
        else:
            raise AssertionError(f"{model}: a stream that broke ended well")


version = importlib.metadata.version("ollama")
for check in (chat, stream, tools_of_the_agent, tools_of_the_client, embeddings, models, errors):
    check()
    print(f"ollama {version}: {check.__name__}: well", flush=True)
