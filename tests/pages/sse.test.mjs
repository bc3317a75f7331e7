import assert from 'node:assert/strict';
import test from 'node:test';

import { createSseParser } from '../../src/http/pages/playground/sse.js';

function read(...pieces) {
  const events = [];
  const parser = createSseParser((event) => events.push(event));
  for (const piece of pieces) parser.push(piece);
  return events;
}

const TWO = 'event: token\ndata: {"text":" a"}\n\nevent: done\ndata: {"choices":[],\ndata: "usage":{}}\n\n';

test('events come with their names, and lines of data are joined', () => {
  const events = read(TWO);
  assert.deepEqual(events.map(({ event }) => event), ['token', 'done']);
  assert.deepEqual(JSON.parse(events[1].data), { choices: [], usage: {} });
});

test('it does not matter where the stream is cut', () => {
  for (const text of [TWO, TWO.replaceAll('\n', '\r\n')]) {
    for (let cut = 0; cut <= text.length; cut += 1) assert.deepEqual(read(text.slice(0, cut), text.slice(cut)), read(text), `cut at ${cut}`);
    assert.deepEqual(read(...text), read(text));
  }
});

test('comments that keep the connection alive are no events', () => {
  assert.deepEqual(read(':\n\n: still there\n\nevent: token\ndata: 1\n\n'), [{ event: 'token', data: '1' }]);
});

test('an event without its closing blank line is not complete', () => {
  assert.deepEqual(read('event: token\ndata: 1\n'), []);
});

test('only the first space after the colon is left out', () => {
  assert.deepEqual(read('data:  two\n\n'), [{ event: 'message', data: ' two' }]);
});
