// The tab that completes a prompt and shows what was read for it.

import * as api from './api.js';
import { chunkOfToken, layChunks, readingOf } from './chunks.js';
import { chosenCollection } from './collections.js';
import { byId, hideProblem, showProblem, sliderOf } from './dom.js';
import { GainView } from './gainview.js';
import { takenOver } from './neighbours.js';
import { wordsWithin } from './overlap.js';
import { Passage } from './passage.js';
import { describeRun, newRun, takeEvent } from './run.js';
import { showReading } from './reading.js';

export function createComplete({ onRun }) {
  const form = byId('complete-form');
  const prompt = byId('prompt');
  const problem = byId('complete-problem');
  const status = byId('complete-status');
  const panel = byId('complete-neighbours');
  const sliders = { neighbours: sliderOf('neighbours'), temperature: sliderOf('temperature'), maxTokens: sliderOf('max-tokens') };
  const passage = new Passage(byId('with-text'), (index) => choose(index, true));
  const without = new Passage(byId('without-text'));
  const gainView = new GainView({
    text: byId('gain-text'), readout: byId('gain-readout'), legend: byId('gain-legend'), summary: byId('gain-summary'),
    // What helped a token was found with the chunk before its own.
  }, (token) => choose(Math.max(0, chunkOfToken(token, run.promptChunks ?? 0) - 1), false));

  let run = null;
  let chosen = null;
  let controller = null;
  let frame = null;

  const shades = [...document.getElementsByName('shade')];
  const shade = () => shades.find((input) => input.checked).value;
  const shadeBy = (value) => { for (const input of shades) input.checked = input.value === value; };

  function inputs() {
    return {
      prompt: prompt.value,
      mode: form.elements.mode.value,
      neighbours: sliders.neighbours.value,
      temperature: sliders.temperature.value,
      maxTokens: sliders.maxTokens.value,
      seed: Number(byId('seed').value),
    };
  }

  function fill(values) {
    prompt.value = values.prompt;
    form.elements.mode.value = values.mode;
    for (const [name, slider] of Object.entries(sliders)) slider.value = values[name];
    byId('seed').value = values.seed;
  }

  function requestOf({ prompt: text, mode, neighbours, temperature, maxTokens, seed }) {
    const body = { prompt: text, max_tokens: maxTokens, temperature, seed, retrieval: { collection: chosenCollection(), neighbours } };
    if (mode === 'off') body.retrieval = { enabled: false };
    if (mode === 'compare') body.compare = true;
    return body;
  }

  async function start() {
    controller?.abort();
    const mine = new AbortController();
    controller = mine;
    const values = inputs();
    run = newRun(values.prompt, values.mode);
    const current = run;
    chosen = null;
    hideProblem(problem);
    reset();
    setBusy(true);
    onRun();
    status.textContent = 'Writing\u2026';
    try {
      await api.complete(requestOf(values), (event, data) => {
        if (current !== run) return;
        takeEvent(current, event, data);
        schedule();
      }, mine.signal);
      if (current !== run) return;
      if (current.problem) fail(new api.Problem(current.problem));
      else if (current.done) status.textContent = describeRun(current);
      else fail(new api.Problem({ detail: 'The connection ended before the completion did.' }));
    } catch (error) {
      if (current !== run) return;
      if (error.name === 'AbortError') status.textContent = `Stopped after ${current.tokens} ${current.tokens === 1 ? 'token' : 'tokens'}.`;
      else fail(error);
    } finally {
      if (current === run) {
        setBusy(false);
        draw();
      }
    }
  }

  function fail(error) {
    status.textContent = '';
    showProblem(problem, error);
    if (run.completion === '' && run.retrievals.length === 0) byId('complete-result').hidden = true;
  }

  function setBusy(busy) {
    byId('stop').disabled = !busy;
    byId('run').textContent = busy ? 'Run again' : 'Run';
    byId('complete-result').setAttribute('aria-busy', String(busy));
  }

  function reset() {
    const compare = run.mode === 'compare';
    byId('complete-result').hidden = false;
    byId('without').hidden = !compare;
    byId('complete-result').classList.toggle('comparing', compare);
    byId('with-title').textContent = run.mode === 'off' ? 'Without retrieval' : 'With retrieval';
    byId('shade').hidden = true;
    shadeBy('chunk');
    passage.clear();
    without.clear();
    draw();
  }

  function schedule() {
    frame ??= requestAnimationFrame(draw);
  }

  function draw() {
    cancelAnimationFrame(frame);
    frame = null;
    if (run.gains && byId('shade').hidden) {
      byId('shade').hidden = false;
      gainView.show(run.prompt, run.gains);
      shadeBy('gain');
    }
    const byGain = run.gains !== null && shade() === 'gain';
    byId('gain-view').hidden = !byGain;
    byId('with-text').hidden = byGain;
    if (run.mode === 'compare') without.plain(run.prompt + run.comparison, run.prompt.length);
    drawChunks();
  }

  function drawChunks() {
    const text = run.prompt + run.completion;
    const promptLength = run.prompt.length;
    if (run.retrievals.length === 0) {
      passage.plain(text, promptLength);
      showReading(panel, { run, chunks: [], reading: null, choose });
      return;
    }
    const chunks = layChunks(text, run.retrievals.map(({ text: query }) => query));
    // The last chunk of the prompt, whose neighbours the first written words come from.
    const at = Math.min(chosen ?? (run.promptChunks ?? run.retrievals.length) - 1, chunks.length - 1);
    const reading = readingOf(chunks, at);
    const reader = reading?.reader === null ? null : chunks[reading?.reader];
    const written = reader ? wordsWithin(text, Math.max(reader.start, promptLength), reader.end) : [];
    const neighbours = reading ? run.retrievals[reading.source].neighbours : [];
    const marks = neighbours.flatMap((neighbour) => takenOver(neighbour, written).map((taken) => taken.written));
    passage.update({ text, chunks, promptLength, chosen: at, marks });
    showReading(panel, { run, chunks, reading, written, choose });
  }

  function choose(index, scroll) {
    chosen = index;
    drawChunks();
    // On a telephone the neighbours are below the text and may be out of sight.
    if (scroll && matchMedia('(max-width: 60rem)').matches) panel.scrollIntoView({ block: 'nearest' });
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    start();
  });
  byId('stop').addEventListener('click', () => controller?.abort());
  byId('new-seed').addEventListener('click', () => {
    byId('seed').value = crypto.getRandomValues(new Uint32Array(1))[0];
  });
  for (const input of shades) input.addEventListener('change', draw);

  return {
    inputs,
    fill,
    start,
    /** The server's limits, once they are known. */
    setLimits({ context }) {
      sliders.maxTokens.most = context - 1;
    },
  };
}
