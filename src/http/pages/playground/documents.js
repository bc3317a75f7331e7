// Files and pasted text as documents for POST /v1/documents.

const FIELDS = ['id', 'text', 'title', 'source', 'metadata', 'collection'];

/** The first Markdown heading, else the file's name without its extension. */
export function titleOf(name, text) {
  const heading = /^#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$/m.exec(text);
  return heading ? heading[1] : name.replace(/\.[^.]+$/, '');
}

/** An id that the server takes, made from a file's name, so that the same file again is the same document. */
export function idOf(name) {
  return name.normalize('NFKD').replace(/[^A-Za-z0-9._:-]+/g, '-').slice(0, 128) || null;
}

/**
 * The documents of one file, and what is wrong with it. Lines of a .jsonl file that hold no document are named, and the rest is taken, as
 * `retro ingest` does.
 */
export function documentsOf(name, text, collection) {
  if (text.trim() === '') return { documents: [], problems: [`${name} is empty.`] };
  if (/\.jsonl$/i.test(name)) return documentsOfLines(name, text, collection);
  if (!/\.(txt|md)$/i.test(name)) return { documents: [], problems: [`${name} is none of .txt, .md and .jsonl.`] };
  return { documents: [withoutEmpty({ id: idOf(name), text, title: titleOf(name, text), source: name, collection })], problems: [] };
}

function documentsOfLines(name, text, collection) {
  const documents = [];
  const problems = [];
  text.split('\n').forEach((line, index) => {
    if (line.trim() === '') return;
    let value;
    try {
      value = JSON.parse(line);
    } catch {
      problems.push(`${name}, line ${index + 1} is not JSON.`);
      return;
    }
    if (value === null || typeof value !== 'object' || typeof value.text !== 'string' || value.text.trim() === '') {
      problems.push(`${name}, line ${index + 1} has no text.`);
      return;
    }
    const extra = Object.fromEntries(Object.entries(value).filter(([key]) => !FIELDS.includes(key)));
    const metadata = { ...extra, ...value.metadata };
    documents.push(withoutEmpty({
      id: value.id === undefined ? idOf(`${name}:${index + 1}`) : String(value.id),
      text: value.text,
      title: value.title,
      source: value.source ?? name,
      metadata: Object.keys(metadata).length > 0 ? metadata : undefined,
      collection: value.collection ?? collection,
    }));
  });
  return { documents, problems };
}

export function withoutEmpty(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null && value !== ''));
}

/** Cuts documents into requests that keep the server's limits on their number and size. */
export function batchesOf(documents, mostDocuments, mostBytes) {
  const encoder = new TextEncoder();
  const batches = [];
  let batch = [];
  let bytes = 0;
  for (const document of documents) {
    const size = encoder.encode(JSON.stringify(document)).length + 1;
    if (batch.length > 0 && (batch.length >= mostDocuments || bytes + size > mostBytes)) {
      batches.push(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(document);
    bytes += size;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}
