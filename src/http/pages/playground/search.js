// The tab that shows what a text would find, without completing it.

import * as api from './api.js';
import { layChunks } from './chunks.js';
import { chosenCollection } from './collections.js';
import { byId, el, hideProblem, showProblem, sliderOf } from './dom.js';
import { chunkName, neighbourCard } from './neighbours.js';
import { Passage } from './passage.js';

export function createSearch({ onRun }) {
  const text = byId('search-text');
  const problem = byId('search-problem');
  const status = byId('search-status');
  const result = byId('search-result');
  const neighbours = sliderOf('search-neighbours');
  const passage = new Passage(byId('search-passage'), (index) => {
    chosen = index;
    draw();
  });

  let found = null;
  let chosen = 0;
  let controller = null;

  async function start() {
    controller?.abort();
    const mine = new AbortController();
    controller = mine;
    hideProblem(problem);
    onRun();
    const query = text.value;
    const begun = performance.now();
    try {
      const answer = await api.retrieve({ text: query, neighbours: neighbours.value, collection: chosenCollection() }, mine.signal);
      found = { query, chunks: answer.chunks };
      // The last chunk is the one that a completion would be shaped by.
      chosen = Math.max(0, answer.chunks.length - 1);
      passage.clear();
      result.hidden = false;
      const count = answer.chunks.length;
      status.textContent = `${count} ${count === 1 ? 'chunk' : 'chunks'} looked up in ${Math.round(performance.now() - begun)} ms.`;
      draw();
    } catch (error) {
      if (error.name === 'AbortError') return;
      result.hidden = true;
      showProblem(problem, error);
    }
  }

  function draw() {
    const chunks = layChunks(found.query, found.chunks.map((chunk) => chunk.text));
    passage.update({ text: found.query, chunks, promptLength: 0, chosen });
    const list = found.chunks[chosen]?.neighbours ?? [];
    byId('search-neighbours-list').replaceChildren(
      el('h2', {}, 'Neighbours of ', chunkName(chosen)),
      el('p', { class: 'flow' }, list.length === 0
        ? 'Nothing was found in this collection.'
        : 'A completion of this text would read these after the chunk, while it writes the next one.'),
      ...list.map((neighbour, index) => neighbourCard(neighbour, { rank: index + 1 })),
    );
  }

  byId('search-form').addEventListener('submit', (event) => {
    event.preventDefault();
    start();
  });

  return {
    start,
    inputs: () => ({ text: text.value, searchNeighbours: neighbours.value }),
    fill(values) {
      text.value = values.text;
      neighbours.value = values.searchNeighbours;
    },
  };
}
