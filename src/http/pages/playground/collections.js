// The collections that can be searched, in every list of the page.

import * as api from './api.js';
import { byId, el } from './dom.js';

const selects = () => [...document.querySelectorAll('select.collection')];

let chosen = 'default';
let known = [];

export function chosenCollection() {
  return chosen;
}

/** One choice for the whole page. A name that the server does not have is kept, so that its answer says what is wrong. */
export function chooseCollection(name) {
  chosen = name;
  show();
}

export async function loadCollections() {
  known = await api.allCollections();
  show();
  return known;
}

export function isEmpty() {
  return known.every((collection) => collection.chunks === 0 && collection.documents.pending === 0);
}

/** The one to begin with: `default`, unless only others hold anything. */
export function firstCollection() {
  const holds = (collection) => collection.chunks > 0;
  const named = known.find((collection) => collection.name === 'default' && holds(collection));
  return (named ?? known.find(holds))?.name ?? 'default';
}

export function startCollections() {
  for (const select of selects()) select.addEventListener('change', () => chooseCollection(select.value));
}

function show() {
  const names = known.map(({ name }) => name);
  const all = names.includes(chosen) ? known : [...known, { name: chosen, chunks: null }];
  for (const select of selects()) {
    select.replaceChildren(...all.map(({ name, chunks }) => el('option', { value: name }, chunks === null ? name : `${name} \u2013 ${count(chunks)}`)));
    select.value = chosen;
  }
  byId('collection-names').replaceChildren(...names.map((name) => el('option', { value: name })));
}

function count(chunks) {
  return chunks === 0 ? 'empty' : `${chunks.toLocaleString('en-GB')} ${chunks === 1 ? 'passage' : 'passages'}`;
}
