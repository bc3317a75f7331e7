// Server-sent events, read from a fetch: EventSource can neither POST nor send a header.

/** Takes text as it arrives and calls `onEvent({event, data})` for each complete event. */
export function createSseParser(onEvent) {
  let rest = '';
  let event = '';
  let data = [];

  function line(text) {
    if (text === '') {
      if (data.length > 0) onEvent({ event: event || 'message', data: data.join('\n') });
      event = '';
      data = [];
      return;
    }
    if (text.startsWith(':')) return;
    const colon = text.indexOf(':');
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? '' : text.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') event = value;
    if (field === 'data') data.push(value);
  }

  return {
    push(text) {
      rest += text;
      for (;;) {
        const end = /\r\n|\n|\r/.exec(rest);
        // A lone CR at the end may be the first half of a CRLF that is cut in two.
        if (!end || (end[0] === '\r' && end.index + 1 === rest.length)) return;
        line(rest.slice(0, end.index));
        rest = rest.slice(end.index + end[0].length);
      }
    },
  };
}
