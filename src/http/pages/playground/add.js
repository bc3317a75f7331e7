// The tab that adds documents, and how far the server is with them.

import * as api from './api.js';
import { chooseCollection, loadCollections } from './collections.js';
import { batchesOf, documentsOf, withoutEmpty } from './documents.js';
import { byId, el, hideProblem, showProblem } from './dom.js';

const POLL_MS = 400;
const BATCH_BYTES = 8 * 1024 * 1024;

let limits = { max_documents: 1000, max_body_bytes: BATCH_BYTES };

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const ended = (task) => ['succeeded', 'failed', 'canceled'].includes(task.status);

/** Adds documents and waits until they are searchable. `onProgress({total, ready, failed})` is called whenever that has changed. */
export async function ingest(documents, onProgress) {
  const tasks = [];
  const report = () => {
    const sum = (name) => tasks.reduce((total, task) => total + task.documents[name], 0);
    onProgress({ total: documents.length, ready: sum('ready'), failed: sum('failed') });
  };
  for (const batch of batchesOf(documents, limits.max_documents, Math.min(BATCH_BYTES, limits.max_body_bytes))) {
    tasks.push((await api.addDocuments(batch)).task);
    await refresh(tasks);
    report();
  }
  while (!tasks.every(ended)) {
    await pause(POLL_MS);
    await refresh(tasks);
    report();
  }
  return tasks;
}

async function refresh(tasks) {
  await Promise.all(tasks.map(async (task, index) => {
    if (!ended(task)) tasks[index] = await api.task(task.id);
  }));
}

export function createAdd({ onAdded }) {
  const form = byId('add-form');
  const problem = byId('add-problem');
  const status = byId('add-status');
  const bar = byId('add-bar');
  const text = byId('add-text');
  const files = byId('add-files');
  const button = form.querySelector('[type=submit]');

  async function gather(collection) {
    const documents = [];
    const problems = [];
    if (text.value.trim() !== '') {
      documents.push(withoutEmpty({
        id: byId('add-id').value.trim(), text: text.value, title: byId('add-title').value.trim(), source: byId('add-source').value.trim(), collection,
      }));
    }
    for (const file of files.files) {
      const read = documentsOf(file.name, await file.text(), collection);
      documents.push(...read.documents);
      problems.push(...read.problems);
    }
    return { documents, problems };
  }

  async function start() {
    hideProblem(problem);
    byId('add-progress').hidden = true;
    const collection = byId('add-collection').value.trim() || 'default';
    button.disabled = true;
    try {
      const { documents, problems } = await gather(collection);
      listProblems(problems);
      if (documents.length === 0) {
        showProblem(problem, { detail: problems.length > 0 ? 'Nothing could be read from the files.' : 'Paste a text or choose files first.' });
        byId('add-progress').hidden = problems.length === 0;
        status.textContent = '';
        bar.hidden = true;
        return;
      }
      byId('add-progress').hidden = false;
      bar.hidden = false;
      bar.max = documents.length;
      bar.value = 0;
      status.textContent = `Sending ${count(documents.length)}\u2026`;
      const begun = performance.now();
      const tasks = await ingest(documents, (progress) => say(progress, begun));
      listProblems([...problems, ...tasks.map((task) => task.error).filter(Boolean)]);
      await loadCollections();
      chooseCollection(collection);
      onAdded();
      if (tasks.every((task) => task.status === 'succeeded') && problems.length === 0) form.reset();
      byId('add-collection').value = collection;
    } catch (error) {
      byId('add-progress').hidden = true;
      showProblem(problem, error);
    } finally {
      button.disabled = false;
    }
  }

  function say({ total, ready, failed }, begun) {
    const seconds = (performance.now() - begun) / 1000;
    const rate = ready / Math.max(seconds, 0.001);
    bar.value = ready;
    const parts = [`${ready.toLocaleString('en-GB')} of ${count(total)} ready`];
    if (failed > 0) parts.push(`${failed.toLocaleString('en-GB')} failed`);
    if (ready > 1) parts.push(`${rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString('en-GB')} per second`);
    status.textContent = `${parts.join(', ')}.`;
  }

  function listProblems(problems) {
    const shown = problems.slice(0, 20).map((line) => el('li', {}, line));
    if (problems.length > 20) shown.push(el('li', {}, `And ${problems.length - 20} more.`));
    byId('add-problems').replaceChildren(...shown);
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    start();
  });

  return {
    setLimits(values) {
      limits = values;
    },
  };
}

function count(documents) {
  return `${documents.toLocaleString('en-GB')} ${documents === 1 ? 'document' : 'documents'}`;
}
