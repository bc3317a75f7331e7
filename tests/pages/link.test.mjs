import assert from 'node:assert/strict';
import test from 'node:test';

import { DEFAULTS, decodeLink, encodeLink } from '../../src/http/pages/playground/link.js';

test('inputs come back as they were', () => {
  const inputs = {
    tab: 'search', prompt: 'A & B = \u201cC\u201d\n100 % #1 + \u65e5\u672c', mode: 'compare', neighbours: 0, temperature: 0.85, maxTokens: 200, seed: 0,
    collection: 'my.notes', text: '?', searchNeighbours: 16,
  };
  assert.deepEqual(decodeLink(`#${encodeLink(inputs)}`), inputs);
  assert.deepEqual(decodeLink(encodeLink(DEFAULTS)), DEFAULTS);
});

test('defaults take no room', () => {
  assert.equal(encodeLink({ ...DEFAULTS }), 'v=1');
  assert.equal(encodeLink({ ...DEFAULTS, prompt: 'Tea is', maxTokens: 24 }), 'v=1&p=Tea+is&n=24');
});

test('a fragment that is no link is none', () => {
  assert.equal(decodeLink(''), null);
  assert.equal(decodeLink('#main'), null);
});

test('another version is named', () => {
  assert.deepEqual(decodeLink('#v=2&p=x'), { unknown: '2' });
});

test('values out of range have their defaults', () => {
  for (const fields of ['k=99', 'k=-1', 'k=1.5', 'k=', 't=hot', 't=3', 'n=0', 'm=sideways', 'tab=admin', 's=-4', 'qk=17']) {
    assert.deepEqual(decodeLink(`v=1&${fields}`), DEFAULTS, fields);
  }
});
