"""Asks a running server by OpenAI's client for Python.

    RETRO_URL=http://127.0.0.1:8080 python -m unittest discover -s tests/clients -v

The client makes typed objects of the answers, and sorts errors by their statuses into classes: what it cannot read fails here.
Nothing is written to the server's database, so it may hold anything.
"""

import asyncio
import json
import math
import os
import unittest
import urllib.request

try:
    import openai
except ModuleNotFoundError:
    openai = None

URL = os.environ.get("RETRO_URL")
PROMPT = "The Dune film was released in"


@unittest.skipUnless(URL, "RETRO_URL names no server")
@unittest.skipUnless(openai, "the package openai is not installed")
class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The server asks for no key, the client for any. Retries would hide a 429.
        cls.client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
        cls.model, cls.embedder = [model.id for model in cls.client.models.list()]

    def complete(self, **more):
        return self.client.completions.create(**{"model": self.model, "prompt": PROMPT, "max_tokens": 8, "temperature": 0} | more)

    def refused(self, kind, code, param, call, *args, **more):
        with self.assertRaises(kind) as raised:
            call(*args, **more)
        error = raised.exception
        self.assertEqual((error.code, error.param), (code, param))
        self.assertTrue(error.body["message"])
        self.assertTrue(error.request_id)
        return error

    def test_completion(self):
        answer = self.complete(n=2, stop=["\n"], user="me")
        self.assertIsInstance(answer, openai.types.Completion)
        self.assertEqual((answer.object, answer.model, len(answer.choices)), ("text_completion", self.model, 2))
        self.assertEqual([choice.index for choice in answer.choices], [0, 1])
        self.assertEqual(answer.choices[0].text, answer.choices[1].text, "temperature 0")
        self.assertIn(answer.choices[0].finish_reason, ("length", "stop"))
        usage = answer.usage
        self.assertEqual(usage.prompt_tokens + usage.completion_tokens, usage.total_tokens)

    def test_retrieval_goes_both_ways(self):
        on = self.complete(extra_body={"retrieval": {"neighbours": 1}})
        self.assertEqual(on.retrieval["chunks"][0]["text"], PROMPT)
        off = self.complete(extra_body={"retrieval": {"enabled": False}})
        self.assertEqual((off.retrieval["enabled"], off.retrieval["chunks"]), (False, []))

    def test_stream(self):
        for more in ({}, {"n": 2, "prompt": [PROMPT, "Größe 字 \U0001f600:"]}):
            whole = self.complete(max_tokens=24, **more)
            stream = self.complete(max_tokens=24, stream=True, stream_options={"include_usage": True}, **more)
            texts, reasons, usage, read = {}, {}, None, []
            for chunk in stream:
                self.assertIsInstance(chunk, openai.types.Completion)
                read += (getattr(chunk, "retrieval", None) or {"chunks": []})["chunks"]
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    texts[choice.index] = texts.get(choice.index, "") + choice.text
                    reasons[choice.index] = choice.finish_reason
            self.assertEqual(texts, {choice.index: choice.text for choice in whole.choices})
            self.assertEqual(reasons, {choice.index: choice.finish_reason for choice in whole.choices})
            self.assertEqual(usage, whole.usage)
            self.assertCountEqual(read, whole.retrieval["chunks"])

    def test_a_stream_that_is_left_early(self):
        with self.complete(max_tokens=200, stream=True) as stream:
            self.assertTrue(next(iter(stream)).id)

    def test_logprobs(self):
        answer = self.complete(logprobs=3, echo=True)
        choice, logprobs = answer.choices[0], answer.choices[0].logprobs
        lists = (logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, logprobs.text_offset)
        self.assertEqual({len(one) for one in lists}, {answer.usage.total_tokens})
        self.assertEqual("".join(logprobs.tokens), choice.text)
        self.assertTrue(choice.text.startswith(PROMPT))
        self.assertIsNone(logprobs.token_logprobs[0])
        for token, log_prob, top, offset in list(zip(*lists))[1:]:
            self.assertTrue(choice.text[offset:].startswith(token))
            self.assertGreaterEqual(max(top.values()) + 1e-5, log_prob)
            self.assertIn(token, top)

    def test_best_of_and_penalties(self):
        answer = self.complete(n=1, best_of=3, temperature=1, seed=7, frequency_penalty=0.5, presence_penalty=-0.5, top_p=0.9)
        self.assertEqual(len(answer.choices), 1)
        again = self.complete(n=1, best_of=3, temperature=1, seed=7, frequency_penalty=0.5, presence_penalty=-0.5, top_p=0.9)
        self.assertEqual(answer.choices, again.choices)

    def test_prompts_of_tokens(self):
        answer = self.complete(prompt=[[300, 301, 302], [303]], max_tokens=1)
        self.assertEqual((len(answer.choices), answer.usage.prompt_tokens), (2, 4))

    def test_embeddings(self):
        texts = ["Tea is a hot drink.", "Coffee is a hot drink.", "The telescope stands on a mountain."]
        # Without a format the client asks for base64 and unpacks it.
        answer = self.client.embeddings.create(model=self.embedder, input=texts)
        self.assertIsInstance(answer, openai.types.CreateEmbeddingResponse)
        self.assertEqual((answer.object, answer.model), ("list", self.embedder))
        vectors = [one.embedding for one in answer.data]
        floats = self.client.embeddings.create(model=self.embedder, input=texts, encoding_format="float")
        for vector, other in zip(vectors, floats.data):
            self.assertTrue(all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(vector, other.embedding, strict=True)))
            self.assertAlmostEqual(sum(value * value for value in vector), 1, places=3)
        cosine = lambda a, b: sum(x * y for x, y in zip(a, b))
        self.assertGreater(cosine(vectors[0], vectors[1]), cosine(vectors[0], vectors[2]))
        self.assertEqual(answer.usage.prompt_tokens, answer.usage.total_tokens)
        one = self.client.embeddings.create(model=self.embedder, input=texts[0], dimensions=len(vectors[0]))
        self.assertEqual(len(one.data), 1)

    def test_models(self):
        for name in (self.model, self.embedder):
            model = self.client.models.retrieve(name)
            self.assertIsInstance(model, openai.types.Model)
            self.assertEqual((model.id, model.object, model.owned_by), (name, "model", "retro-server"))
            self.assertGreater(model.created, 1_600_000_000)

    def test_bad_requests(self):
        for param, value in [
            ("max_tokens", 0), ("temperature", 3), ("logprobs", 21), ("n", 0), ("best_of", 0), ("prompt", ""), ("suffix", "end"),
            ("frequency_penalty", 3), ("presence_penalty", -3), ("logit_bias", {"50256": -100}),
        ]:
            with self.subTest(param):
                error = self.refused(openai.BadRequestError, "invalid_value", param, self.complete, **{param: value})
                self.assertEqual(error.type, "invalid_request_error")
        self.refused(openai.BadRequestError, "invalid_value", "prompt", self.complete, prompt="", stream=True)
        self.refused(openai.BadRequestError, "unknown_field", "top_k", self.complete, extra_body={"top_k": 3})
        embed = self.client.embeddings.create
        self.refused(openai.BadRequestError, "invalid_value", "input", embed, model=self.embedder, input="word " * 600)
        self.refused(openai.BadRequestError, "invalid_type", "input", embed, model=self.embedder, input=[1, 2])

    def test_not_found(self):
        self.refused(openai.NotFoundError, "model_not_found", "model", self.complete, model="gpt-4")
        self.refused(openai.NotFoundError, "model_not_found", "model", self.client.models.retrieve, "gpt-4")
        self.refused(openai.NotFoundError, "model_not_found", "model", self.client.embeddings.create, model="gpt-4", input="a")

    def test_rate_limit(self):
        with urllib.request.urlopen(f"{URL}/v1/info") as answer:
            prompts = min(64, json.load(answer)["limits"]["max_queue"])

        async def ask(client):
            try:
                return await client.completions.create(
                    model=self.model, prompt=["la la la la la la la la"] * prompts, max_tokens=64, temperature=0,
                    extra_body={"retrieval": {"enabled": False}},
                )
            except openai.RateLimitError as error:
                return error

        async def ask_all():
            async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0) as client:
                return await asyncio.gather(*(ask(client) for _ in range(12)))

        answers = asyncio.run(ask_all())
        refused = [answer for answer in answers if isinstance(answer, openai.RateLimitError)]
        self.assertTrue(refused, "more prompts at once than slots and queue hold")
        self.assertLess(len(refused), len(answers))
        for error in refused:
            self.assertEqual((error.code, error.type), ("rate_limit_exceeded", "rate_limit_exceeded"))
            self.assertGreaterEqual(int(error.response.headers["retry-after"]), 1)


if __name__ == "__main__":
    unittest.main()
