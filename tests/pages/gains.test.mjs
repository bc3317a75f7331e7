import assert from 'node:assert/strict';
import test from 'node:test';

import { formatGain, gainInWords, levelName, levelOf, summary } from '../../src/http/pages/playground/gains.js';

test('levels are symmetric about no difference', () => {
  for (const gain of [0, 0.1, 0.25, 0.9, 1, 2.5, 9]) assert.equal(levelOf(-gain), 0 - levelOf(gain));
  assert.deepEqual([0.1, 0.25, 1, 2.5, 40].map(levelOf), [0, 1, 2, 3, 3]);
  assert.deepEqual([-3, 0, 2].map(levelName), ['gain-down-3', 'gain-0', 'gain-up-2']);
});

test('a gain has a sign and two places', () => {
  assert.deepEqual([0.416, -0.416, 0.001, -0.001].map(formatGain), ['+0.42', '\u22120.42', '0.00', '0.00']);
});

test('a gain in words is a ratio of probabilities', () => {
  assert.equal(gainInWords(Math.log(2)), '2.0 times more probable with retrieval');
  assert.equal(gainInWords(-Math.log(1500)), '1,500 times less probable with retrieval');
  assert.equal(gainInWords(0.01), 'as probable as without retrieval');
});

test('the summary counts what helped and what did not', () => {
  assert.deepEqual(summary([{ gain: 2 }, { gain: -1 }, { gain: 0 }, { gain: 3 }]), { total: 4, mean: 1, helped: 2, hurt: 1, count: 4 });
  assert.equal(summary([]).mean, 0);
});
