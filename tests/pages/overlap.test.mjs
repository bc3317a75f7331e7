import assert from 'node:assert/strict';
import test from 'node:test';

import { sharedRuns, wordsOf, wordsWithin } from '../../src/http/pages/playground/overlap.js';

function shared(read, written) {
  return sharedRuns(wordsOf(read), wordsOf(written)).map((run) => [read.slice(...run.read), written.slice(...run.written)]);
}

test('runs of three words count, shorter ones do not', () => {
  assert.deepEqual(shared('built in 1904 by Ida', 'It was built in 1904.'), [['built in 1904', 'built in 1904']]);
  assert.deepEqual(shared('built in 1904', 'built in 1905'), []);
});

test('case and punctuation make no difference', () => {
  assert.deepEqual(shared('Ida Brandt, the clockmaker', 'ida brandt \u2013 THE clockmaker'), [['Ida Brandt, the clockmaker', 'ida brandt \u2013 THE clockmaker']]);
  assert.deepEqual(shared('the harbour\u2019s old clock', "the harbour's old clock").length, 1);
});

test('the longest run wins over one that begins before it', () => {
  const found = shared('a b c d e f', 'a b c x b c d e f');
  assert.deepEqual(found, [['b c d e f', 'b c d e f']]);
});

test('a word is taken over once', () => {
  assert.deepEqual(shared('one two three', 'one two three one two three'), [['one two three', 'one two three']]);
});

test('several runs of one text are found', () => {
  assert.equal(shared('one two three and four five six', 'four five six, one two three').length, 2);
});

test('what is left of a run beside a longer one still counts if it is long enough', () => {
  const found = shared('a b c d e f g h i', 'd e f g h i x a b c d e');
  assert.deepEqual(found.map(([read]) => read), ['d e f g h i', 'a b c']);
});

test('accents and other scripts are words', () => {
  assert.deepEqual(wordsOf('Caf\u00e9 na\u00efve \u65e5\u672c').map(({ word }) => word), ['caf\u00e9', 'na\u00efve', '\u65e5\u672c']);
});

test('a word that the end of a chunk cuts belongs to it', () => {
  assert.deepEqual(wordsWithin('one two three', 5, 9).map(({ word }) => word), ['two', 'three']);
  assert.deepEqual(wordsWithin('one two three', 3, 4), []);
});
