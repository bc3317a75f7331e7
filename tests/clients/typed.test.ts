// Asks a running server by a client whose types are generated from openapi/openapi.json: what the description does not have does not compile.
//
//   npm --prefix tests/clients ci
//   cd tests/clients && npx openapi-typescript ../../openapi/openapi.json -o build/openapi.d.ts && npx tsc
//   RETRO_URL=http://127.0.0.1:8080 node --test build/typed.test.js

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import createClient from 'openapi-fetch';

import type { components, paths } from './build/openapi.js';

const base = process.env.RETRO_URL;
const prompt = 'The lighthouse of Tarnmouth is';

describe('a client from the description', { skip: base ? false : 'RETRO_URL names no server' }, () => {
  const client = createClient<paths>({ baseUrl: base ?? '' });

  test('a document is added, shown and deleted', async () => {
    const body = { id: 'typed-lighthouse', collection: 'typed', text: 'The lighthouse of Tarnmouth is 31 metres high.', metadata: { year: 1871 } };
    const { data, response } = await client.POST('/v1/documents', { params: { query: { wait: true } }, body });
    assert.equal(response.status, 200);
    const status: components['schemas']['TaskStatus'] | undefined = data?.task.status;
    assert.equal(status, 'succeeded');
    assert.deepEqual(data?.document_ids, [body.id]);

    const params = { path: { id: body.id } };
    const shown = await client.GET('/v1/documents/{id}', { params: { ...params, query: { text: true } } });
    assert.equal(shown.data?.text, body.text);
    assert.deepEqual(shown.data?.metadata, body.metadata);

    const found = await client.POST('/v1/retrieve', { body: { text: prompt, neighbours: 1, collection: 'typed' } });
    const neighbour: components['schemas']['NeighbourView'] | undefined = found.data?.chunks[0]?.neighbours[0];
    assert.equal(neighbour?.document_id, body.id);
    assert.ok((neighbour?.distance ?? 4) < 2);

    const completed = await client.POST('/v1/complete', { body: { prompt, max_tokens: 8, retrieval: { collection: 'typed' } } });
    // Where the request says so, it is a stream.
    const answer = typeof completed.data === 'string' ? undefined : completed.data;
    const choice: components['schemas']['Choice'] | undefined = answer?.choices[0];
    assert.ok(choice?.text);
    assert.ok(choice.finish_reason === 'length' || choice.finish_reason === 'stop');
    assert.equal(answer?.retrieval.chunks[0]?.neighbours[0]?.document_id, body.id);
    assert.equal(answer?.usage.completion_tokens, 8);

    const gone = await client.DELETE('/v1/documents/{id}', { params });
    assert.equal(gone.response.status, 204);
    const missing = await client.GET('/v1/documents/{id}', { params });
    const problem: components['schemas']['Problem'] | undefined = missing.error;
    assert.deepEqual([problem?.status, problem?.code, problem?.field], [404, 'document_not_found', 'id']);
  });

  test('an error is typed', async () => {
    const { data, error, response } = await client.POST('/v1/complete', { body: { prompt: '' } });
    assert.equal(data, undefined);
    assert.deepEqual([response.status, error?.code, error?.field], [422, 'invalid_value', 'prompt']);
    assert.ok(error?.detail && error.request_id);
  });

  test('what the description does not have does not compile', async () => {
    // @ts-expect-error a field of another type
    const mistyped = await client.POST('/v1/complete', { body: { prompt, max_tokens: 'many' } });
    assert.equal(mistyped.error?.code, 'invalid_type');
    // @ts-expect-error a field is missing
    const missing = await client.POST('/v1/complete', { body: { max_tokens: 1 } });
    assert.equal(missing.error?.code, 'missing_field');
    // @ts-expect-error a route that there is not
    const nowhere = await client.GET('/v1/nothing', {});
    assert.equal(nowhere.response.status, 404);
  });
});
