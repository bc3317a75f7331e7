import assert from 'node:assert/strict';
import test from 'node:test';

import { chunkOfToken, cutPieces, layChunks, readingOf } from '../../src/http/pages/playground/chunks.js';

const cut = (text, queries) => layChunks(text, queries).map(({ start, end }) => text.slice(start, end));

test('chunks tile the text, and what was not looked up is the open one', () => {
  const chunks = layChunks('one two three four', ['one two', ' three']);
  assert.deepEqual(chunks.map(({ index, full }) => [index, full]), [[0, true], [1, true], [2, false]]);
  assert.deepEqual(cut('one two three four', ['one two', ' three']), ['one two', ' three', ' four']);
});

test('a text that ends with a chunk has no open one', () => {
  assert.deepEqual(layChunks('one two', ['one two']).map(({ full }) => full), [true]);
});

test('a character that lies in two chunks goes to one of them whole', () => {
  assert.deepEqual(cut('ab\u65e5cd', ['ab\uFFFD', '\uFFFDcd']), ['ab', '\u65e5cd']);
  assert.deepEqual(cut('ab\u{1F41D}cd', ['ab\uFFFD\uFFFD', '\uFFFD\uFFFDcd']), ['ab', '\u{1F41D}cd']);
});

test('text that is repeated is not mistaken for its later copy', () => {
  assert.deepEqual(cut('la la la la', ['la la', ' la']), ['la la', ' la', ' la']);
});

test('a query whose text has not arrived yet takes what is there', () => {
  assert.deepEqual(cut('one tw', ['one', ' two three']), ['one', ' tw']);
  assert.deepEqual(cut('', ['one']), []);
});

test('pieces are cut at the end of the prompt and at marks', () => {
  const pieces = cutPieces('prompt and words', 0, 16, 6, [[7, 10]]);
  assert.deepEqual(pieces, [
    { text: 'prompt', given: true, marked: false },
    { text: ' ', given: false, marked: false },
    { text: 'and', given: false, marked: true },
    { text: ' words', given: false, marked: false },
  ]);
  assert.equal(cutPieces('prompt and words', 3, 9, 6, [[0, 16], [2, 5]]).map(({ text }) => text).join(''), 'mpt an');
});

test('the neighbours of a full chunk are read by the next one', () => {
  const chunks = layChunks('abc', ['a', 'b']);
  assert.deepEqual(readingOf(chunks, 0), { source: 0, reader: 1, chosen: 0 });
  assert.deepEqual(readingOf(chunks, 1), { source: 1, reader: 2, chosen: 1 });
});

test('the open chunk has none of its own and shows those that it read', () => {
  assert.deepEqual(readingOf(layChunks('abc', ['a', 'b']), 2), { source: 1, reader: 2, chosen: 2 });
  assert.equal(readingOf(layChunks('abc', []), 0), null);
  assert.equal(readingOf([], 0), null);
});

test('the neighbours of the last chunk are read by none', () => {
  assert.deepEqual(readingOf(layChunks('ab', ['a', 'b']), 1), { source: 1, reader: null, chosen: 1 });
});

test('the first chunk of a completion begins where the prompt ends', () => {
  assert.deepEqual([0, 63, 64].map((token) => chunkOfToken(token, 3)), [3, 3, 4]);
});
