// Neighbours beside a text: what was found, how near it is, and which words were taken over.

import { cutPieces, tintOf } from './chunks.js';
import { el } from './dom.js';
import { sharedRuns, wordsOf } from './overlap.js';

/** A squared distance of 2 is that of two texts that have nothing in common; more is hardly ever seen. */
const FARTHEST = 2;

export function chunkName(index) {
  return el('span', { class: `badge ${tintOf(index)}` }, `Chunk ${index + 1}`);
}

/** Which words of a neighbour and its continuation are in `written`. The two are one piece of their document, so a run may span both. */
export function takenOver(neighbour, written) {
  return sharedRuns(wordsOf(neighbour.neighbour + neighbour.continuation), written);
}

/** `reader` is the chunk whose colour the words have that it took over; `written` are its words. */
export function neighbourCard(neighbour, { rank, reader = null, written = [] }) {
  const runs = takenOver(neighbour, written);
  const marks = runs.map((run) => run.read);
  const words = runs.reduce((sum, run) => sum + run.words, 0);
  const text = neighbour.neighbour + neighbour.continuation;
  const seam = neighbour.neighbour.length;
  const continuation = neighbour.continuation.trim();
  const tint = reader === null ? '' : tintOf(reader);
  const name = neighbour.title || neighbour.document_id || 'Given with the request';
  return el('article', { class: 'neighbour' },
    el('h3', {}, el('span', { class: 'rank' }, `${rank}`), name),
    el('p', { class: 'origin' }, ...origin(neighbour)),
    neighbour.distance === null || neighbour.distance === undefined ? null : distanceBar(neighbour.distance),
    el('p', { class: 'part' }, 'Neighbour'),
    el('blockquote', {}, ...pieces(text, text.length - text.trimStart().length, seam, marks, tint)),
    el('p', { class: 'part' }, 'Continuation'),
    continuation === ''
      ? el('p', { class: 'small' }, 'The document ends here.')
      : el('blockquote', {}, ...pieces(text, text.indexOf(continuation, seam), text.length, marks, tint)),
    words === 0 ? null : el('p', { class: 'small' }, `${words} words taken over by chunk ${reader + 1}, marked.`),
  );
}

function pieces(text, start, end, marks, tint) {
  return cutPieces(text, start, end, 0, marks).map((piece) => (
    piece.marked ? el('mark', { class: `taken ${tint}` }, piece.text) : piece.text
  ));
}

function origin({ document_id: id, chunk_index: chunk, source }) {
  const parts = [];
  if (id !== null && id !== undefined) parts.push('Passage ', String(chunk + 1), ' of ', el('code', {}, id));
  if (source && source !== id) {
    if (parts.length > 0) parts.push(', ');
    // Any other scheme, javascript: above all, stays text.
    parts.push(/^https?:\/\//i.test(source) ? el('a', { href: source, rel: 'noopener noreferrer', target: '_blank' }, source) : source);
  }
  return parts;
}

function distanceBar(distance) {
  const bar = el('span', { class: 'distance-fill' });
  // Set through the object model, which the page's security policy allows; a style attribute it does not.
  bar.style.width = `${Math.min(1, Math.max(0, distance / FARTHEST)) * 100}%`;
  return el('p', { class: 'distance', title: '0 is the same text, 2 has nothing to do with it' },
    el('span', {}, 'Distance'),
    el('span', { class: 'distance-track', 'aria-hidden': 'true' }, bar),
    el('span', { class: 'number' }, distance.toFixed(2)),
  );
}
