import assert from 'node:assert/strict';
import test from 'node:test';

import { describeRun, newRun, takeEvent } from '../../src/http/pages/playground/run.js';

const neighbours = (chunk) => ({ choice: 0, chunk, text: `chunk ${chunk}`, stale_tokens: 0, neighbours: [] });
const end = {
  choices: [{ index: 0, finish_reason: 'length' }],
  retrieval: { enabled: true },
  usage: { prompt_tokens: 9, completion_tokens: 1, total_tokens: 10 },
  timings: { queue_ms: 0.1, retrieval_ms: 14.2, prefill_ms: 9.8, first_token_ms: 24.04, decode_ms: 8.04 },
};

test('events make up a run', () => {
  const run = newRun('Tea', 'compare');
  takeEvent(run, 'retrieval', neighbours(0));
  takeEvent(run, 'retrieval', neighbours(1));
  takeEvent(run, 'token', { choice: 0, text: ' is' });
  takeEvent(run, 'comparison', { choice: 0, text: ' was' });
  takeEvent(run, 'retrieval', neighbours(2));
  takeEvent(run, 'token', { choice: 0, text: ' a' });
  takeEvent(run, 'gains', { choice: 0, tokens: [{ text: ' is', gain: 1 }, { text: ' a', gain: 0 }] });
  takeEvent(run, 'of a later version', {});
  takeEvent(run, 'done', end);
  assert.equal(run.completion, ' is a');
  assert.equal(run.comparison, ' was');
  assert.equal(run.promptChunks, 2);
  assert.equal(run.retrievals.length, 3);
  assert.equal(run.gains.length, 2);
  assert.equal(describeRun(run), '1 token, the first after 24 ms, 8.0 ms of decoding, 3 look-ups in 14 ms.');
});

test('a run without retrieval has no look-ups', () => {
  const run = newRun('Tea', 'off');
  takeEvent(run, 'token', { choice: 0, text: ' is' });
  takeEvent(run, 'done', { ...end, retrieval: { enabled: false } });
  assert.equal(run.promptChunks, 0);
  assert.equal(describeRun(run), '1 token, the first after 24 ms, 8.0 ms of decoding.');
});

test('an error is kept', () => {
  const run = newRun('Tea', 'on');
  takeEvent(run, 'error', { status: 500, detail: 'the model failed' });
  assert.equal(run.problem.detail, 'the model failed');
});
