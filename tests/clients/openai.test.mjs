// Asks a running server by OpenAI's client for Node.
//
//   npm --prefix tests/clients ci
//   RETRO_URL=http://127.0.0.1:8080 node --test tests/clients/*.test.mjs
//
// Nothing is written to the server's database, so it may hold anything.

import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';

import OpenAI from 'openai';

const base = process.env.RETRO_URL;
const prompt = 'The Dune film was released in';

describe('the client for Node', { skip: base ? false : 'RETRO_URL names no server' }, () => {
  let client;
  let model;
  let embedder;

  const complete = (more) => client.completions.create({ model, prompt, max_tokens: 8, temperature: 0, ...more });

  async function refused(promise, kind, code, param) {
    const error = await promise.then(() => assert.fail('it is taken'), (error) => error);
    assert.ok(error instanceof kind, `${error}`);
    assert.deepEqual([error.code, error.param], [code, param]);
    assert.ok(error.message && error.requestID);
    return error;
  }

  before(async () => {
    // The server asks for no key, the client for any. Retries would hide a 429.
    client = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'none', maxRetries: 0 });
    const ids = [];
    for await (const one of client.models.list()) ids.push(one.id);
    [model, embedder] = ids;
  });

  test('completion', async () => {
    const answer = await complete({ n: 2, stop: '\n', retrieval: { neighbours: 1 } });
    assert.deepEqual([answer.object, answer.model], ['text_completion', model]);
    assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1]);
    assert.equal(answer.choices[0].text, answer.choices[1].text);
    assert.equal(answer.usage.prompt_tokens + answer.usage.completion_tokens, answer.usage.total_tokens);
    assert.equal(answer.retrieval.chunks[0].text, prompt);
  });

  test('stream', async () => {
    const more = { n: 2, prompt: [prompt, 'Größe 字 😀:'], max_tokens: 24 };
    const whole = await complete(more);
    const texts = [];
    const reasons = [];
    let usage;
    for await (const chunk of await complete({ ...more, stream: true, stream_options: { include_usage: true } })) {
      usage = chunk.usage ?? usage;
      for (const { index, text, finish_reason: reason } of chunk.choices) {
        texts[index] = (texts[index] ?? '') + text;
        reasons[index] = reason;
      }
    }
    assert.deepEqual(texts, whole.choices.map((choice) => choice.text));
    assert.deepEqual(reasons, whole.choices.map((choice) => choice.finish_reason));
    assert.deepEqual(usage, whole.usage);
  });

  test('a stream that is left early', async () => {
    const stream = await complete({ max_tokens: 200, stream: true });
    for await (const chunk of stream) {
      assert.ok(chunk.id);
      break;
    }
  });

  test('log-probabilities', async () => {
    const { choices: [choice], usage } = await complete({ logprobs: 2, echo: true });
    const { tokens, token_logprobs: logProbs, top_logprobs: top, text_offset: offsets } = choice.logprobs;
    assert.equal(tokens.join(''), choice.text);
    assert.equal(logProbs[0], null);
    for (const list of [tokens, logProbs, top, offsets]) assert.equal(list.length, usage.total_tokens);
    tokens.forEach((token, at) => assert.ok(choice.text.slice(offsets[at]).startsWith(token)));
    tokens.slice(1).forEach((token, at) => assert.ok(token in top[at + 1]));
  });

  test('embeddings', async () => {
    const input = ['Tea is a hot drink.', 'Coffee is a hot drink.', 'The telescope stands on a mountain.'];
    // Without a format the client asks for base64 and unpacks it.
    const answer = await client.embeddings.create({ model: embedder, input });
    const floats = await client.embeddings.create({ model: embedder, input, encoding_format: 'float' });
    const vectors = answer.data.map((one) => [...one.embedding]);
    const dot = (a, b) => a.reduce((sum, value, at) => sum + value * b[at], 0);
    vectors.forEach((vector, at) => {
      const other = floats.data[at].embedding;
      assert.equal(vector.length, other.length);
      assert.ok(vector.every((value, place) => Math.abs(value - other[place]) < 1e-6));
      assert.ok(Math.abs(dot(vector, vector) - 1) < 1e-3);
    });
    assert.ok(dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2]));
    assert.ok(answer.usage.prompt_tokens > 0);
  });

  test('models', async () => {
    for (const name of [model, embedder]) {
      const one = await client.models.retrieve(name);
      assert.deepEqual([one.id, one.object, one.owned_by], [name, 'model', 'retro-server']);
    }
  });

  test('errors', async () => {
    await refused(complete({ max_tokens: 0 }), OpenAI.BadRequestError, 'invalid_value', 'max_tokens');
    await refused(complete({ prompt: '', stream: true }), OpenAI.BadRequestError, 'invalid_value', 'prompt');
    await refused(complete({ top_k: 3 }), OpenAI.BadRequestError, 'unknown_field', 'top_k');
    await refused(complete({ model: 'gpt-4' }), OpenAI.NotFoundError, 'model_not_found', 'model');
    await refused(client.models.retrieve('gpt-4'), OpenAI.NotFoundError, 'model_not_found', 'model');
    const long = client.embeddings.create({ model: embedder, input: 'word '.repeat(600) });
    await refused(long, OpenAI.BadRequestError, 'invalid_value', 'input');
  });

  test('too many at once', async () => {
    const { limits } = await (await fetch(`${base}/v1/info`)).json();
    const prompts = Array(Math.min(64, limits.max_queue)).fill('la la la la la la la la');
    const asked = Array.from({ length: 12 }, () => complete({ prompt: prompts, max_tokens: 64, retrieval: { enabled: false } }));
    const answers = await Promise.allSettled(asked);
    const errors = answers.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
    assert.ok(errors.length > 0 && errors.length < answers.length, `${errors.length} are refused`);
    for (const error of errors) {
      assert.ok(error instanceof OpenAI.RateLimitError, `${error}`);
      assert.equal(error.code, 'rate_limit_exceeded');
      assert.ok(Number(error.headers.get('retry-after')) >= 1);
    }
  });
});
