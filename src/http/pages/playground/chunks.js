// Where the chunks of a text begin and end, by what the server said it looked up.

export const TINTS = 6;

const SPLIT_CHARACTER = /^\uFFFD+|\uFFFD+$/g;

/**
 * Cuts `text` into chunks. `queries` are the texts of the full chunks in order; what lies behind them is the open chunk, which was not
 * looked up. The browser has no tokenizer, so the server's queries are the only measure of 64 tokens.
 */
export function layChunks(text, queries) {
  const chunks = [];
  let start = 0;
  for (const query of queries) {
    if (start >= text.length) break;
    // A character whose bytes lie in two chunks comes as U+FFFD in both.
    const core = query.replace(SPLIT_CHARACTER, '');
    const found = text.indexOf(core, start);
    const near = found >= start && found - start <= 2;
    const end = Math.min((near ? found : start) + core.length, text.length);
    chunks.push({ index: chunks.length, start, end, full: true });
    start = end;
  }
  if (start < text.length) chunks.push({ index: chunks.length, start, end: text.length, full: false });
  return chunks;
}

/** The text from `start` to `end`, cut where the prompt ends and where marks begin and end. */
export function cutPieces(text, start, end, promptLength, marks) {
  const cuts = new Set([start, end]);
  for (const cut of [promptLength, ...marks.flat()]) if (cut > start && cut < end) cuts.add(cut);
  const at = [...cuts].sort((a, b) => a - b);
  return at.slice(1).map((stop, index) => ({
    text: text.slice(at[index], stop),
    given: at[index] < promptLength,
    marked: marks.some(([from, to]) => from <= at[index] && stop <= to),
  }));
}

/**
 * Whose neighbours to show for the chosen chunk, and which chunk read them. Neighbours of a chunk are found with all of its text, so
 * they can only help with the chunk after it.
 */
export function readingOf(chunks, chosen) {
  const chunk = chunks[chosen];
  if (!chunk) return null;
  const source = chunk.full ? chosen : chosen - 1;
  if (source < 0) return null;
  return { source, reader: chunks[source + 1] ? source + 1 : null, chosen };
}

/** The chunk that token `index` of a completion lies in: the grid ends where the prompt ends. */
export function chunkOfToken(index, promptChunks, length = 64) {
  return promptChunks + Math.floor(index / length);
}

export function tintOf(chunk) {
  return `tint-${chunk % TINTS}`;
}
