"""What schemathesis has to be told of this API: the rules that a schema cannot say, and values that mean something.

Requests that keep every rule of the schema must be taken, so what is refused all the same is a failure, but for the rules listed here. Each names the
operations, the field and the words of the refusal, so that another refusal of the same request is still a failure.
"""

import contextlib
import json
import re

import schemathesis
from schemathesis.core.deserialization import deserializer
from schemathesis.openapi.checks import RejectedPositiveData

MODEL = "retro-nano"
EMBEDDER = "all-MiniLM-L6-v2"
DIMENSIONS = 384
VOCABULARY = 16384
LARGEST = 2**32 - 1
NDJSON = "application/x-ndjson"

# Path, field, and code or words, and why the schema does not say so.
RULES = [
    (r"/v1/(complete|completions|score|embeddings)", r"prompt|text|max_tokens|input|prompt\[\d+\]|input\[\d+\]", r"token|context",
     "schemas count characters, and the number of tokens of a text depends on the model"),
    (r".*", r".*", r"invalid type: floating point `-?\d+\.0`, expected", "1.0 is an integer to a schema; here it has to be written as one"),
    (r"/v1/complete", "compare", "compares with retrieval", "it depends on another field"),
    (r"/v1/completions", "best_of", "must be `n`", "it depends on other fields"),
    (r"/v1/completions", "stream_options", "is for streams", "it depends on another field"),
    (r".*", r"(retrieval\.)?as_of", "does not keep version|has no version", "the versions of a collection come and go"),
    (r".*", r"(.*\.)?filter\b.*", "is nested|is part|has both|must be a (number|string), is", "depth, size, sides of a range, and the type of its bounds"),
    (r".*", r"metadata|documents\[\d+\]\.metadata", "bytes as JSON", "schemas do not count bytes"),
    (r"/v1/documents", r"documents\[\d+\]\.id|id", r"`.*` is \"", "the ids of a list must be distinct"),
    (r"/v1/documents/\{id\}", "id", "but the path names", "the body may repeat the id of the path"),
    (r"/v1/documents", "files", "^unreadable_files|with a name", "what a file is, its name says"),
    (r"/v1/documents", "metadata", "must be a JSON object", "it is text in a form"),
    (r"/v1/documents", "", "^idempotency_key_used", "a key belongs to the body that it came with first"),
    (r".*", "cursor", "is not a `next_cursor`", "only pages make cursors"),
]


def error_of(response):
    """Field, and code and words, of an error in either form."""
    body = response.json()
    error = body.get("error", body)
    return error.get("param", error.get("field")) or "", f"{error['code']}: {error.get('message', error.get('detail'))}"


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if not isinstance(failure, RejectedPositiveData) or response.status_code not in (400, 413, 422):
        return True
    field, words = error_of(response)
    return not any(
        re.fullmatch(paths, case.operation.path) and re.fullmatch(fields, field) and re.search(said, words)
        for paths, fields, said, _ in RULES)


def number(value, within):
    """Another number for one that keeps the rules of the schema; what breaks them stays as it is."""
    return value % within if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST else value


def tokens(value):
    if isinstance(value, list):
        return [tokens(one) for one in value]
    return number(value, VOCABULARY)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Few of the values that a schema allows make an answer: one of all names is a model's, and a context has 512 tokens."""
    body, path = case.body, case.operation.path
    if not isinstance(body, dict):
        return
    if path in ("/v1/complete", "/v1/completions"):
        # Eight choices of each of 64 prompts are many tokens.
        body["max_tokens"] = number(body.get("max_tokens") or 4, 8) or 1 if body.get("max_tokens") != 0 else 0
    if path in ("/v1/completions", "/v1/embeddings") and isinstance(body.get("model"), str):
        body["model"] = MODEL if path == "/v1/completions" else EMBEDDER
    if path == "/v1/completions" and isinstance(body.get("prompt"), list):
        body["prompt"] = tokens(body["prompt"])
    if path == "/v1/embeddings" and number(body.get("dimensions"), 1) == 0 and body["dimensions"]:
        body["dimensions"] = DIMENSIONS


@schemathesis.serializer(NDJSON)
def lines(context, value):
    """A schema has no words for lines of JSON. So text that is none, which the schema allows, becomes the text of a document, and what is no text
    becomes a line that is no document."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            if all(isinstance(json.loads(line), dict) for line in value.splitlines()) and value:
                return value.encode()
        value = {"text": "Line. " + value.replace("\0", "")}
    return json.dumps(value).encode() + b"\n"


@deserializer("text/event-stream")
def events(context, response):
    """The description says that a stream is text; what its events hold is checked by the tests in Rust."""
    return response.text
