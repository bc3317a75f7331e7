// How much retrieval helped a token: the natural logarithm of its probability with retrieval minus that without.

const LEVELS = [0.25, 1, 2.5];

/** -3 (retrieval made the token much less probable) to 3 (much more). */
export function levelOf(gain) {
  const size = LEVELS.filter((least) => Math.abs(gain) >= least).length;
  return gain < 0 ? -size || 0 : size;
}

export function levelName(level) {
  return level === 0 ? 'gain-0' : level > 0 ? `gain-up-${level}` : `gain-down-${-level}`;
}

export function formatGain(gain) {
  const size = Math.abs(gain).toFixed(2);
  if (Number(size) === 0) return '0.00';
  return `${gain < 0 ? '\u2212' : '+'}${size}`;
}

/** The gain as a ratio of probabilities, in words. */
export function gainInWords(gain) {
  const ratio = Math.exp(Math.abs(gain));
  if (ratio < 1.05) return 'as probable as without retrieval';
  const times = ratio < 10 ? ratio.toFixed(1) : Math.round(ratio).toLocaleString('en-GB');
  return `${times} times ${gain < 0 ? 'less' : 'more'} probable with retrieval`;
}

export function summary(tokens) {
  const total = tokens.reduce((sum, token) => sum + token.gain, 0);
  const helped = tokens.filter((token) => levelOf(token.gain) > 0).length;
  const hurt = tokens.filter((token) => levelOf(token.gain) < 0).length;
  return { total, mean: tokens.length ? total / tokens.length : 0, helped, hurt, count: tokens.length };
}
