"""What servers say when they refuse, in their own words, and what a step makes of it; judged by the stub's own
record.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from alchemist_runtime.calls.completion import judge, refused_parameter, refuses_schema, retry_after
from alchemist_runtime.calls.dispatch import PATIENCE_SECONDS
from alchemist_runtime.schema.codes import RunError
from asked import call_batch, requests, teacher
from stub import Stub


def said(message: str, code: Any = None, **more: Any) -> str:
    return orjson.dumps({"error": {"message": message, "code": code, **more}}).decode()


#: Status and body as servers send them, and the class.
REFUSALS = {
    # too long
    "openai long": (
        400,
        said(
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
            "context_length_exceeded",
        ),
        "too_long",
    ),
    "openai minute": (
        429,
        said(
            "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000.", "rate_limit_exceeded"
        ),
        "too_long",
    ),
    "vllm long": (
        400,
        '{"object": "error", "message": "The decoder prompt (length 5000) is longer than the maximum model length of 4096.", "type": "BadRequestError", "code": 400}',
        "too_long",
    ),
    "sglang long": (
        400,
        said("The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
        "too_long",
    ),
    "llama.cpp long": (
        400,
        said(
            "the request exceeds the available context size. try increasing the context size",
            400,
            type="exceed_context_size_error",
        ),
        "too_long",
    ),
    "llama.cpp full": (500, said("Context size has been exceeded.", 500), "too_long"),
    "lm studio long": (
        400,
        '{"error": "Trying to keep the first 10136 tokens when context the overflows. However, the model is loaded with context length of only 7866 tokens, which is not enough."}',
        "too_long",
    ),
    "lm studio n_keep": (400, '{"error": "Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)"}', "too_long"),
    "tgi long": (
        422,
        '{"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 100 `max_new_tokens`", "error_type": "validation"}',
        "too_long",
    ),
    "anthropic long": (
        400,
        said("prompt is too long: 210000 tokens > 200000 maximum", type="invalid_request_error"),
        "too_long",
    ),
    "anthropic limit": (
        400,
        said("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
        "too_long",
    ),
    "gemini long": (
        400,
        '[{"error": {"code": 400, "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT"}}]',
        "too_long",
    ),
    "mistral long": (
        400,
        '{"object": "error", "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", "type": "invalid_request_error", "code": "3051"}',
        "too_long",
    ),
    "litellm long": (400, said("litellm.ContextWindowExceededError: litellm.BadRequestError: too long"), "too_long"),
    "proxy long": (413, "<html>413 Request Entity Too Large</html>", "too_long"),
    # moderated
    "azure filter": (
        400,
        said(
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
            "content_filter",
            innererror={"code": "ResponsibleAIPolicyViolation"},
        ),
        "moderated",
    ),
    "openrouter flagged": (
        403,
        said(
            "Your chosen model requires moderation and your input was flagged for violence",
            403,
            metadata={"reasons": ["violence"], "flagged_input": "…"},
        ),
        "moderated",
    ),
    "deepseek risk": (400, said("Content Exists Risk", "invalid_request_error"), "moderated"),
    "qwen inspection": (
        400,
        said("<400> InternalError.Algo.DataInspectionFailed: Input text data may contain inappropriate content."),
        "moderated",
    ),
    # no credit, key, model, quota
    "openai quota": (
        429,
        said("You exceeded your current quota, please check your plan and billing details.", "insufficient_quota"),
        "no_credit",
    ),
    "deepseek balance": (402, said("Insufficient Balance", "invalid_request_error"), "no_credit"),
    "anthropic credit": (400, said("Your credit balance is too low to access the Anthropic API."), "no_credit"),
    "openai key": (401, said("Incorrect API key provided: x", "invalid_api_key"), "no_key"),
    "gemini key": (
        400,
        '[{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}}]',
        "no_key",
    ),
    "forbidden": (403, "Forbidden", "no_key"),
    "openai model": (
        404,
        said("The model `gpt-9` does not exist or you do not have access to it.", "model_not_found"),
        "no_model",
    ),
    "ollama model": (404, said('model "qwen9" not found, try pulling it first'), "no_model"),
    "vllm model": (
        404,
        '{"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}',
        "no_model",
    ),
    "openrouter model": (400, said("x/y is not a valid model ID", 400), "no_model"),
    "deepseek model": (400, said("Model Not Exist"), "no_model"),
    "no such path": (404, '{"detail":"Not Found"}', "no_model"),
    "openrouter day": (
        429,
        said("Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000", 429),
        "quota",
    ),
    "groq day": (
        429,
        said(
            "Rate limit reached for model `m` on tokens per day (TPD): Limit 100000, Used 99999", "rate_limit_exceeded"
        ),
        "quota",
    ),
    "gemini day": (
        429,
        said(
            "You exceeded your current quota, please check your plan and billing details.",
            429,
            details=[{"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}],
        ),
        "quota",
    ),
    # what passes
    "gemini minute": (
        429,
        said(
            "You exceeded your current quota, please check your plan and billing details. Please retry in 45.5s.",
            429,
            details=[{"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]}],
        ),
        "busy",
    ),
    "openai rate": (429, said("Rate limit reached for requests", "rate_limit_exceeded"), "busy"),
    "anthropic overloaded": (529, said("Overloaded", type="overloaded_error"), "busy"),
    "openai overloaded": (503, said("That model is currently overloaded with other requests."), "busy"),
    "tgi overloaded": (429, '{"error": "Model is overloaded", "error_type": "overloaded"}', "busy"),
    "llama.cpp loading": (503, said("Loading model", 503, type="unavailable_error"), "loading"),
    "proxy": (502, "<html>502 Bad Gateway</html>", "passing"),
    "openai error": (500, said("The server had an error while processing your request."), "passing"),
    "conflict": (409, said("try again"), "passing"),
    # this request
    "wrong": (400, said("'messages' must contain at least one user turn"), "refused"),
    "echo": (
        422,
        '{"detail": [{"type": "string_type", "loc": ["body", "x"], "msg": "Input should be a valid string", "input": "my prompt is too long, Content Exists Risk"}]}',
        "refused",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_the_class_of_a_refusal(name: str) -> None:
    status, body, kind = REFUSALS[name]
    assert judge(status, body).kind == kind


def test_how_long_a_server_asks_to_wait() -> None:
    assert judge(429, REFUSALS["gemini minute"][1]).wait == 45.5
    assert judge(429, said("slow"), {"retry-after": "7"}).wait == 7
    assert judge(429, said("slow"), {"retry-after": "3600"}).kind == "quota"
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    for past in ("0", "-5", "Thu, 01 Jan 2026 00:00:00 GMT"):
        assert retry_after({"retry-after": past}) == 0
    for none in ("nan", "inf", "soon", "", "Thu, 99 Foo 9999999999 00:00:00 GMT"):
        assert retry_after({"retry-after": none}) is None


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Unsupported parameter: 'temperature' is not supported with this model.", "temperature"),
        ("Unsupported value: 'temperature' does not support 0.2 with this model.", "temperature"),
        ("Unrecognized request argument supplied: top_p", "top_p"),
        ("`temperature` and `top_p` cannot both be specified for this model.", "top_p"),
        ("Use 'max_completion_tokens' instead of 'max_tokens'.", "max_tokens"),
        ("litellm.UnsupportedParamsError: o1 does not support parameters: ['top_p']", "top_p"),
        ('Invalid JSON payload received. Unknown name "top_p": Cannot find field.', "top_p"),
        ("max_tokens is too large: 5000. This model supports at most 4096 completion tokens", None),
        ("temperature must be at most 2", None),
    ],
)
def test_a_parameter_that_a_server_does_not_take(message: str, name: str | None) -> None:
    assert refused_parameter(400, message, ["temperature", "top_p", "max_tokens"]) == name
    assert refused_parameter(429, message, ["temperature", "top_p", "max_tokens"]) is None


@pytest.mark.parametrize(
    "message",
    [
        "JSON schema conversion failed: Unrecognized schema: {}",
        "The provided JSON schema contains features not supported by xgrammar.",
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
        "This model does not support structured outputs",
    ],
)
def test_a_schema_that_a_server_cannot_do(message: str) -> None:
    assert refuses_schema(400, message)
    assert not refuses_schema(429, message)
    assert not refuses_schema(400, "This row is not welcome")


# --- steps ------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alchemist_runtime.calls.limits.FIRST_PAUSE_SECONDS", 0.01)


def ask(pool: Any, stub: Stub, marks: list[str], outputs: Any = None, **more: Any) -> Any:
    max_failed = more.pop("max_failed", 1)
    spec = teacher(stub.base_url, **more)
    made = pool()
    asking = call_batch(made, spec, len(marks), max_failed=max_failed)
    questions = [f"q{i} {mark}" for i, mark in enumerate(marks)]
    return made.ask(asking, requests(spec, questions, outputs)), asking


@pytest.mark.parametrize(
    ("mark", "told"),
    [
        ("status:404", "has no model `m`"),
        ("e:402|Insufficient Balance|invalid_request_error", "has no credit"),
        ("quota", "has no credit"),
        ("status:401", "requires a key"),
        ("e:429|Quota exceeded for limit 'free-models-per-day'|429", "quota of `t` is used up"),
    ],
)
def test_what_no_call_can_escape_stops_at_the_third(stub: Stub, pool: Any, mark: str, told: str) -> None:
    with pytest.raises(RunError) as e:
        ask(pool, stub, [f"[[b={mark}]]"] * 200, concurrency=64)
    assert (e.value.problem.code, e.value.exit_code) == ("A708", 3)
    assert told in e.value.problem.headline
    assert stub.stats()["requests"] == 3


def test_one_refused_row_is_one_refused_row(stub: Stub, pool: Any) -> None:
    flagged = "e:403|Your chosen model requires moderation and your input was flagged for violence|403"
    marks = ["[[b=ok]]"] * 40
    for i, mark in {5: flagged, 11: "status:401", 17: "status:404", 23: "quota"}.items():
        marks[i] = f"[[b={mark}]]"
    outcomes, _ = ask(pool, stub, marks)
    kinds = {i: o.kind for i, o in enumerate(outcomes) if o.reply is None}
    assert kinds == {5: "moderated", 11: "no_key", 17: "no_model", 23: "no_credit"}
    assert stub.stats()["requests"] == 40


@pytest.mark.parametrize(
    "mark",
    [
        "schema400:JSON schema conversion failed: Unrecognized schema: {}",
        "schema400:The provided JSON schema contains features not supported by xgrammar.",
    ],
)
def test_a_schema_is_tried_once(stub: Stub, pool: Any, mark: str) -> None:
    fields = {"answer": "text", "score": "int(1..10)"}
    outcomes, _ = ask(pool, stub, [f"[[b={mark}]]"] * 30, fields, concurrency=30)
    assert all(o.reply is not None for o in outcomes)
    assert len(stub.requests(status=400)) == 1


def test_a_parameter_is_tried_once(stub: Stub, pool: Any) -> None:
    message = "Unsupported parameter: 'temperature' is not supported with this model."
    marks = [f"[[b=param400:temperature|{message}]]"] * 30
    outcomes, asking = ask(pool, stub, marks, concurrency=30)
    assert all(o.reply is not None for o in outcomes)
    assert len(stub.requests(status=400)) == 1
    assert asking.teacher_client.lacks() == [
        f"`temperature` is left out; the server says 400: {message} (unsupported_parameter)"
    ]


def test_a_server_that_loads_is_waited_for_by_one_call(stub: Stub, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alchemist_runtime.calls.limits.LOADING_PAUSE_SECONDS", 0.2)
    stub.control("loading", 1)
    outcomes, _ = ask(pool, stub, [""] * 20, retries=1, concurrency=20)
    assert all(o.reply is not None for o in outcomes)
    assert 3 <= len(stub.requests(status=503)) < 20


def test_a_row_that_is_always_told_to_wait_fails_alone(stub: Stub, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PATIENCE_SECONDS, "busy", 0.2)
    marks = ["[[b=ok]]"] * 30
    marks[3] = "[[b=status:429]]"
    outcomes, _ = ask(pool, stub, marks, retries=1, concurrency=4)
    assert [i for i, o in enumerate(outcomes) if o.reply is None] == [3]
    assert 1 + 6 <= stub.stats()["max_per_body"] < 60
