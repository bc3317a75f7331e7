// Tabs, by the pattern of the ARIA practices: one stop for Tab, arrows between them.

import { byId } from './dom.js';

const NAMES = ['complete', 'search', 'add'];

export function createTabs({ onChange }) {
  const tabs = NAMES.map((name) => byId(`tab-${name}`));
  let current = NAMES[0];

  function show(name) {
    current = name;
    NAMES.forEach((each, index) => {
      tabs[index].setAttribute('aria-selected', String(each === name));
      tabs[index].tabIndex = each === name ? 0 : -1;
      byId(`panel-${each}`).hidden = each !== name;
    });
  }

  tabs.forEach((tab, index) => {
    tab.addEventListener('click', () => {
      show(NAMES[index]);
      onChange();
    });
    tab.addEventListener('keydown', (event) => {
      const last = NAMES.length - 1;
      const next = { ArrowRight: (index + 1) % NAMES.length, ArrowLeft: (index + last) % NAMES.length, Home: 0, End: last }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      show(NAMES[next]);
      tabs[next].focus();
      onChange();
    });
  });

  return { show, current: () => current };
}
