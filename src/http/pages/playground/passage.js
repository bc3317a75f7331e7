// A text, coloured by chunk. Chunks are buttons; their elements stay the same while text streams in, so that focus stays too.

import { cutPieces, tintOf } from './chunks.js';
import { el } from './dom.js';

export class Passage {
  /** `onChoose(index)` is called when a chunk is chosen. */
  constructor(root, onChoose) {
    this.root = root;
    this.onChoose = onChoose;
    this.parts = [];
  }

  /** Shows `text`, cut as `chunks` say. `marks` are ranges of it that were taken over from neighbours. */
  update({ text, chunks, promptLength, chosen, marks = [] }) {
    while (this.parts.length > chunks.length) this.parts.pop().element.remove();
    for (const chunk of chunks) {
      const part = this.parts[chunk.index] ?? this.#add(chunk.index);
      const pieces = cutPieces(text, chunk.start, chunk.end, promptLength, marks);
      part.element.setAttribute('aria-pressed', String(chunk.index === chosen));
      const state = JSON.stringify([pieces, chunk.full]);
      if (state === part.state) continue;
      part.state = state;
      part.element.classList.toggle('open', !chunk.full);
      part.body.replaceChildren(...pieces.map((piece) => (
        el(piece.marked ? 'mark' : 'span', { class: piece.given ? 'given' : 'written' }, piece.text)
      )));
    }
  }

  /** Shows a text that has no chunks. */
  plain(text, promptLength) {
    this.parts = [];
    this.root.replaceChildren(
      el('span', { class: 'given' }, text.slice(0, promptLength)),
      el('span', { class: 'written' }, text.slice(promptLength)),
    );
  }

  clear() {
    this.parts = [];
    this.root.replaceChildren();
  }

  #add(index) {
    if (this.parts.length === 0) this.root.replaceChildren();
    const body = el('span');
    const choose = () => this.onChoose(index);
    const element = el('span', {
      class: `chunk ${tintOf(index)}`,
      role: 'button',
      tabindex: '0',
      'aria-pressed': 'false',
      on: {
        click: () => { if (getSelection().isCollapsed) choose(); },
        keydown: (event) => {
          if (event.key !== 'Enter' && event.key !== ' ') return;
          if (event.ctrlKey || event.metaKey) return;
          event.preventDefault();
          choose();
        },
      },
    }, el('span', { class: 'visually-hidden' }, `Chunk ${index + 1}: `), el('span', { class: 'chunk-number', 'aria-hidden': 'true' }, String(index + 1)), body);
    const part = { element, body, state: '' };
    this.parts.push(part);
    this.root.append(element);
    return part;
  }
}
