// What is known of a completion while its events come in.

export function newRun(prompt, mode) {
  return {
    prompt,
    mode,
    completion: '',
    comparison: '',
    tokens: 0,
    retrievals: [],
    promptChunks: null,
    gains: null,
    done: null,
    problem: null,
  };
}

/** Takes one event of the stream in. Events of names that are not known are passed over: a later server may send more. */
export function takeEvent(run, event, data) {
  switch (event) {
    case 'retrieval':
      run.retrievals[data.chunk] = data;
      break;
    case 'token':
      // All of the prompt's chunks are looked up before the first token.
      run.promptChunks ??= run.retrievals.length;
      run.completion += data.text;
      run.tokens += 1;
      break;
    case 'comparison':
      run.comparison += data.text;
      break;
    case 'gains':
      run.gains = data.tokens;
      break;
    case 'done':
      run.done = data;
      break;
    case 'error':
      run.problem = data;
      break;
  }
}

export function describeRun(run) {
  const { usage, timings, retrieval } = run.done;
  const parts = [`${usage.completion_tokens} ${usage.completion_tokens === 1 ? 'token' : 'tokens'}`];
  if (timings.first_token_ms != null) parts.push(`the first after ${milliseconds(timings.first_token_ms)}`);
  parts.push(`${milliseconds(timings.decode_ms)} of decoding`);
  if (retrieval.enabled && run.retrievals.length > 0) {
    const count = run.retrievals.length;
    parts.push(`${count} ${count === 1 ? 'look-up' : 'look-ups'} in ${milliseconds(timings.retrieval_ms)}`);
  }
  return `${parts.join(', ')}.`;
}

function milliseconds(value) {
  return value < 10 ? `${value.toFixed(1)} ms` : value < 10_000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}
