// The bearer key, which only this tab keeps, and only until it is closed.

import { byId } from './dom.js';

const NAME = 'retro-key';

let waiting = null;

export function storedKey() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return null;
  }
}

/** Shows the field for the key; is done when one was entered. Requests that meet a 401 at the same time wait for the same key. */
export function askForKey() {
  if (waiting) return waiting;
  const form = byId('key-form');
  const field = byId('key');
  byId('key-again').hidden = storedKey() === null;
  form.hidden = false;
  field.value = '';
  field.focus();
  waiting = new Promise((resolve) => {
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      try {
        sessionStorage.setItem(NAME, field.value.trim());
      } catch {
        // Where storage is blocked the page cannot keep a key at all.
      }
      field.value = '';
      form.hidden = true;
      waiting = null;
      resolve();
    }, { once: true });
  });
  return waiting;
}
