// The completion token by token, shaded by how much retrieval helped.

import { el } from './dom.js';
import { formatGain, gainInWords, levelName, levelOf, summary } from './gains.js';

const LEGEND = [
  [-3, 'hurt most'], [-2, ''], [-1, ''], [0, 'no difference'], [1, ''], [2, ''], [3, 'helped most'],
];

export class GainView {
  /** `onChoose(index)` is called when a token is focused. */
  constructor({ text, readout, legend, summary: summaryLine }, onChoose) {
    Object.assign(this, { text, readout, summaryLine, onChoose });
    this.tokens = [];
    this.elements = [];
    legend.replaceChildren(...LEGEND.map(([level, name]) => (
      el('li', {}, el('span', { class: `swatch ${levelName(level)}`, 'aria-hidden': 'true' }, level > 0 ? '+' : level < 0 ? '\u2212' : '0'), name)
    )));
    text.addEventListener('keydown', (event) => this.#move(event));
    text.addEventListener('mouseover', (event) => this.#say(this.elements.indexOf(event.target)));
    text.addEventListener('focusin', (event) => this.#point(this.elements.indexOf(event.target)));
    text.addEventListener('click', (event) => this.elements[this.elements.indexOf(event.target)]?.focus());
  }

  show(prompt, tokens) {
    this.tokens = tokens;
    this.elements = tokens.map((token, index) => el('span', {
      class: `token ${levelName(levelOf(token.gain))}`,
      role: 'option',
      'aria-selected': 'false',
      'aria-label': `${token.text.trim() || 'space'}, gain ${formatGain(token.gain)}`,
      tabindex: index === 0 ? '0' : '-1',
    }, token.text));
    this.text.replaceChildren(el('span', { class: 'given', 'aria-hidden': 'true' }, prompt), ...this.elements);
    const { total, mean, helped, hurt, count } = summary(tokens);
    this.summaryLine.textContent = `Retrieval made ${helped} of ${count} tokens more probable and ${hurt} less. `
      + `The gain is ${formatGain(mean)} a token on average, ${formatGain(total)} in all.`;
    this.readout.textContent = 'Point at a token, or move with the arrow keys, to see its gain.';
  }

  #move(event) {
    const at = this.elements.indexOf(document.activeElement);
    const last = this.elements.length - 1;
    const next = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
    if (next === undefined || at < 0) return;
    event.preventDefault();
    this.elements[Math.max(0, Math.min(last, next))].focus();
  }

  #point(index) {
    if (index < 0) return;
    this.elements.forEach((element, at) => {
      element.tabIndex = at === index ? 0 : -1;
      element.setAttribute('aria-selected', String(at === index));
    });
    this.#say(index);
    this.onChoose(index);
  }

  #say(index) {
    const token = this.tokens[index];
    if (!token) return;
    const word = token.text.trim() === '' ? 'A space or a line break' : `\u2018${token.text.trim()}\u2019`;
    this.readout.replaceChildren(
      el('span', { class: 'number' }, formatGain(token.gain)), ` ${word}: ${gainInWords(token.gain)}.`,
    );
  }
}
