// The server's API. Paths are relative, so the page works behind a proxy that serves it under a prefix.

import { askForKey, storedKey } from './key.js';
import { createSseParser } from './sse.js';

/** A failure in the server's words (problem+json). */
export class Problem extends Error {
  constructor({ detail, title, status, code, field }) {
    super(detail ?? title ?? `The server answered ${status}.`);
    Object.assign(this, { detail: this.message, status, code, field });
  }
}

async function send(path, { body, signal } = {}) {
  for (;;) {
    const headers = {};
    const key = storedKey();
    if (key) headers.authorization = `Bearer ${key}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    let response;
    try {
      response = await fetch(path, { method: body === undefined ? 'GET' : 'POST', headers, body: body && JSON.stringify(body), signal });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Problem({ detail: 'The server cannot be reached.' });
    }
    if (response.ok) return response;
    if (response.status === 401) {
      await untilAborted(askForKey(), signal);
      continue;
    }
    throw new Problem({ status: response.status, ...(await response.json().catch(() => ({}))) });
  }
}

function untilAborted(promise, signal) {
  if (!signal) return promise;
  return Promise.race([promise, new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new DOMException('stopped', 'AbortError')), { once: true });
  })]);
}

async function json(path, options) {
  return (await send(path, options)).json();
}

/** Streams a completion: calls `onEvent(name, data)` for each event. */
export async function complete(body, onEvent, signal) {
  const response = await send('v1/complete', { body: { ...body, stream: true }, signal });
  const parser = createSseParser(({ event, data }) => onEvent(event, JSON.parse(data)));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    parser.push(value);
  }
}

export const retrieve = (body, signal) => json('v1/retrieve', { body, signal });
export const info = () => json('v1/info');
export const task = (id) => json(`v1/tasks/${encodeURIComponent(id)}`);
export const addDocuments = (documents) => json('v1/documents', { body: { documents } });

export async function allCollections() {
  const collections = [];
  let cursor = null;
  do {
    const page = await json(`v1/collections?limit=1000${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
    collections.push(...page.data);
    cursor = page.next_cursor ?? null;
  } while (cursor);
  return collections;
}
