// What the chosen chunk has to do with its neighbours, in words, and the neighbours.

import { el, fill } from './dom.js';
import { chunkName, neighbourCard } from './neighbours.js';

export function showReading(panel, { run, chunks, reading, written = [], choose }) {
  const key = JSON.stringify([run.mode, chunks.length, reading, run.retrievals.length, written, run.done !== null]);
  // While text streams in, most frames change nothing here; a panel that is built anew would lose focus and selection.
  if (panel.dataset.key === key && panel.run === run) return;
  panel.dataset.key = key;
  panel.run = run;
  if (!reading) {
    fill(panel, el('p', { class: 'small' }, ...withoutNeighbours(run, chunks)));
    return;
  }
  const { neighbours } = run.retrievals[reading.source];
  fill(
    panel,
    el('h2', {}, 'Neighbours of ', chunkName(reading.source)),
    el('p', { class: 'flow' }, ...sentence(run, chunks, reading, neighbours.length)),
    ...neighbours.map((neighbour, index) => neighbourCard(neighbour, { rank: index + 1, reader: reading.reader, written })),
    earlier(reading, choose),
  );
}

function withoutNeighbours(run, chunks) {
  if (run.mode === 'off') return ['Retrieval is off. Nothing was looked up, so all of this comes from the model\u2019s weights.'];
  if (chunks.length > 0) return ['This chunk is not full. Nothing was looked up for it, and nothing could be read before it.'];
  if (run.done) return ['Nothing was looked up, because ', el('i', {}, 'k'), ' is 0.'];
  return ['Looking up\u2026'];
}

function sentence(run, chunks, { source, reader, chosen }, count) {
  if (count === 0) return [chunkName(source), ' was looked up, and nothing was found in this collection.'];
  const what = count === 1 ? 'This passage is the nearest to its text.' : `These ${count} passages are the nearest to its text.`;
  if (reader === null) {
    return [what, run.done ? ' The text ends before anything could read them.' : ' The model reads them next.'];
  }
  const given = chunks[reader].end <= run.prompt.length;
  const unfinished = chosen !== source ? ' It is not full, so it was not looked up itself.' : '';
  return [what, given ? ' The model read them along with ' : ' The model read them while it wrote ', chunkName(reader), `.${unfinished}`];
}

function earlier({ source, chosen }, choose) {
  if (chosen !== source || source === 0) return null;
  return el('p', { class: 'earlier' },
    chunkName(source), ' itself was shaped by the neighbours of ', chunkName(source - 1), '. ',
    el('button', { type: 'button', class: 'plain', on: { click: () => choose(source - 1, true) } }, 'Show them'),
  );
}
