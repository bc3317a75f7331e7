// Words that two texts have in common, as runs.

const WORD = /[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*/gu;

export const SHORTEST_RUN = 3;

export function wordsOf(text) {
  return Array.from(text.matchAll(WORD), (match) => ({
    word: match[0].toLowerCase().replaceAll('’', "'"),
    start: match.index,
    end: match.index + match[0].length,
  }));
}

/** Words of `text` of which a part lies from `start` to `end`: a chunk may end inside a word. */
export function wordsWithin(text, start, end) {
  return wordsOf(text).filter((word) => word.end > start && word.start < end);
}

/**
 * Runs of at least `shortest` words that are in both lists, the longest first, none of them overlapping in `read`. Each says where it
 * lies in the two texts.
 */
export function sharedRuns(read, written, shortest = SHORTEST_RUN) {
  const candidates = [];
  let below = [];
  for (let i = read.length - 1; i >= 0; i -= 1) {
    const row = new Array(written.length + 1).fill(0);
    for (let j = written.length - 1; j >= 0; j -= 1) {
      if (read[i].word !== written[j].word) continue;
      row[j] = 1 + (below[j + 1] ?? 0);
      if (row[j] >= shortest) candidates.push({ i, j, length: row[j] });
    }
    below = row;
  }
  candidates.sort((a, b) => b.length - a.length || a.i - b.i || a.j - b.j);
  const taken = new Set();
  const runs = [];
  for (const { i, j, length } of candidates) {
    let fits = length;
    // What is left of a run whose end is taken may still be long enough.
    for (let k = 0; k < length; k += 1) if (taken.has(i + k)) { fits = k; break; }
    if (fits < shortest) continue;
    for (let k = 0; k < fits; k += 1) taken.add(i + k);
    runs.push({
      words: fits,
      read: [read[i].start, read[i + fits - 1].end],
      written: [written[j].start, written[j + fits - 1].end],
    });
  }
  return runs;
}
