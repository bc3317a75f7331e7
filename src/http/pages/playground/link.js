// All inputs of the page in the fragment of its address, which browsers do not send to the server.

const VERSION = '1';

export const DEFAULTS = Object.freeze({
  tab: 'complete',
  prompt: '',
  mode: 'on',
  neighbours: 2,
  temperature: 0,
  maxTokens: 64,
  seed: 1,
  collection: 'default',
  text: '',
  searchNeighbours: 4,
});

const KEYS = {
  tab: 'tab',
  prompt: 'p',
  mode: 'm',
  neighbours: 'k',
  temperature: 't',
  maxTokens: 'n',
  seed: 's',
  collection: 'c',
  text: 'q',
  searchNeighbours: 'qk',
};

const CHOICES = { tab: ['complete', 'search', 'add'], mode: ['on', 'off', 'compare'] };

const RANGES = {
  neighbours: { least: 0, most: 8, whole: true },
  temperature: { least: 0, most: 2, whole: false },
  maxTokens: { least: 1, most: 1_000_000, whole: true },
  seed: { least: 0, most: Number.MAX_SAFE_INTEGER, whole: true },
  searchNeighbours: { least: 0, most: 16, whole: true },
};

/** The fragment for the inputs, without `#`. What has its default is left out. */
export function encodeLink(inputs) {
  const fields = new URLSearchParams({ v: VERSION });
  for (const [name, key] of Object.entries(KEYS)) {
    const value = inputs[name] ?? DEFAULTS[name];
    if (value !== DEFAULTS[name]) fields.set(key, String(value));
  }
  return fields.toString();
}

/**
 * The inputs of a fragment, with or without `#`. Null where it holds none; `{ unknown: version }` where another version wrote it. A value
 * that is out of range has its default: a link comes from anywhere.
 */
export function decodeLink(fragment) {
  const fields = new URLSearchParams(fragment.replace(/^#/, ''));
  const version = fields.get('v');
  if (version === null) return null;
  if (version !== VERSION) return { unknown: version };
  const inputs = { ...DEFAULTS };
  for (const [name, key] of Object.entries(KEYS)) {
    const value = fields.get(key);
    if (value === null) continue;
    if (RANGES[name]) {
      const { least, most, whole } = RANGES[name];
      const number = value.trim() === '' ? NaN : Number(value);
      if (number >= least && number <= most && (!whole || Number.isInteger(number))) inputs[name] = number;
    } else if (!CHOICES[name] || CHOICES[name].includes(value)) {
      inputs[name] = value;
    }
  }
  return inputs;
}
