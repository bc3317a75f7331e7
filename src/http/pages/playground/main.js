// The page: its tabs, its link, and what it asks the server first.

import { createAdd } from './add.js';
import * as api from './api.js';
import { chooseCollection, chosenCollection, firstCollection, loadCollections, startCollections } from './collections.js';
import { createComplete } from './complete.js';
import { byId, hideProblem, showProblem } from './dom.js';
import { DEFAULTS, decodeLink, encodeLink } from './link.js';
import { createSearch } from './search.js';
import { createTabs } from './tabs.js';
import { startTheme } from './theme.js';
import { createWelcome } from './welcome.js';

const problem = byId('page-problem');

const tabs = createTabs({ onChange: rememberInputs });
const complete = createComplete({ onRun: rememberInputs });
const search = createSearch({ onRun: rememberInputs });
const add = createAdd({ onAdded: () => welcome.update() });
const welcome = createWelcome({ onReady: open, onProblem: (error) => showProblem(problem, error) });

function inputs() {
  return { tab: tabs.current(), collection: chosenCollection(), ...complete.inputs(), ...search.inputs() };
}

function rememberInputs() {
  history.replaceState(null, '', `#${encodeLink(inputs())}`);
}

/** Fills the page and runs what its tab is about. Nothing is ever added to the database by a link. */
function open(values) {
  chooseCollection(values.collection);
  complete.fill(values);
  search.fill(values);
  tabs.show(values.tab);
  if (values.tab === 'complete' && values.prompt !== '') complete.start();
  if (values.tab === 'search' && values.text !== '') search.start();
}

function openLink() {
  const values = decodeLink(location.hash);
  if (values?.unknown) {
    showProblem(problem, { detail: `This link was made by another version of the page (${values.unknown}).` });
    return false;
  }
  if (values) open(values);
  return values !== null;
}

let toastTimer = null;

function toast(text) {
  const box = byId('toast');
  box.textContent = text;
  box.classList.add('shown');
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => {
    box.classList.remove('shown');
    box.textContent = '';
  }, 2500);
}

async function copyLink() {
  rememberInputs();
  try {
    await navigator.clipboard.writeText(location.href);
    toast('Link copied.');
  } catch {
    // Browsers give the clipboard to pages of https and of this machine only.
    byId('link-box').hidden = false;
    byId('link').value = location.href;
    byId('link').select();
  }
}

async function describeModel() {
  const { model, limits } = await api.info();
  byId('model').textContent = `${model.name}, ${(model.parameters / 1e6).toFixed(1)} million parameters, ${model.weights}`;
  complete.setLimits(limits);
  add.setLimits(limits);
}

async function start() {
  startTheme(byId('theme'));
  startCollections();
  for (const button of document.querySelectorAll('.copy-link')) button.addEventListener('click', copyLink);
  byId('link-close').addEventListener('click', () => { byId('link-box').hidden = true; });
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    byId(`${tabs.current()}-form`).requestSubmit();
  });
  try {
    await Promise.all([describeModel(), loadCollections()]);
  } catch (error) {
    showProblem(problem, error);
  }
  welcome.update();
  if (!openLink()) {
    complete.fill(DEFAULTS);
    chooseCollection(firstCollection());
  }
  window.addEventListener('hashchange', () => {
    hideProblem(problem);
    openLink();
  });
  document.documentElement.dataset.ready = 'true';
}

start();
