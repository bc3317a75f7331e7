import assert from 'node:assert/strict';
import test from 'node:test';

import { batchesOf, documentsOf, idOf, titleOf } from '../../src/http/pages/playground/documents.js';

test('a text file is one document, named after its heading or its file', () => {
  const { documents, problems } = documentsOf('tides.md', 'Intro\n\n## The tides ##\n\nTwice a day.', 'sea');
  assert.deepEqual(problems, []);
  assert.deepEqual(documents, [{ id: 'tides.md', text: 'Intro\n\n## The tides ##\n\nTwice a day.', title: 'The tides', source: 'tides.md', collection: 'sea' }]);
  assert.equal(titleOf('my.notes.txt', 'no heading, #hash'), 'my.notes');
});

test('ids hold only what the server takes', () => {
  assert.equal(idOf('My caf\u00e9 (2).txt'), 'My-cafe-2-.txt');
  assert.equal(idOf('\u65e5\u672c'), '-');
  assert.equal(idOf('x'.repeat(200)).length, 128);
});

test('lines of .jsonl are documents; fields of other names are metadata', () => {
  const lines = '{"text": "One.", "id": 7, "year": 1904, "metadata": {"year": 1905}}\r\n\n{"text": "Two.", "title": "T", "collection": "own"}\n';
  const { documents, problems } = documentsOf('many.jsonl', lines, 'sea');
  assert.deepEqual(problems, []);
  assert.deepEqual(documents, [
    { id: '7', text: 'One.', source: 'many.jsonl', metadata: { year: 1905 }, collection: 'sea' },
    { id: 'many.jsonl:3', text: 'Two.', title: 'T', source: 'many.jsonl', collection: 'own' },
  ]);
});

test('what is wrong is named with its line, and the rest is taken', () => {
  const { documents, problems } = documentsOf('many.jsonl', '{"text": "One."}\n{broken\n[]\nnull\n{"text": " "}', 'sea');
  assert.equal(documents.length, 1);
  assert.deepEqual(problems, [
    'many.jsonl, line 2 is not JSON.', 'many.jsonl, line 3 has no text.', 'many.jsonl, line 4 has no text.', 'many.jsonl, line 5 has no text.',
  ]);
  assert.deepEqual(documentsOf('a.pdf', '%PDF', 'sea').problems, ['a.pdf is none of .txt, .md and .jsonl.']);
  assert.deepEqual(documentsOf('a.txt', ' \n', 'sea').problems, ['a.txt is empty.']);
});

test('requests keep the limits on number and size', () => {
  const documents = Array.from({ length: 5 }, (_, index) => ({ text: `${index}` }));
  assert.deepEqual(batchesOf(documents, 2, 1000).map(({ length }) => length), [2, 2, 1]);
  assert.deepEqual(batchesOf(documents, 100, 30).map(({ length }) => length), [2, 2, 1]);
  // One that is too large goes by itself, so that the server's answer is about it.
  assert.deepEqual(batchesOf([{ text: 'x'.repeat(99) }, { text: 'y' }], 100, 30).map(({ length }) => length), [1, 1]);
  assert.deepEqual(batchesOf([], 2, 1000), []);
});
