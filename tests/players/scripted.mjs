// Topics with faults: a small server that speaks the documented HTTP interface, and misbehaves as the
// first part of the path says, so that the browser's client can be shown to bear it.
//
//   /plain  as documented          /kept  streams are opened, but no event comes through
//   /cut    streams end after each three messages        /busy  the first two requests get 503
//   /short  a log of five messages that loses its page   /closed  403
import { createServer } from 'node:http';

const PAGE = 1767225600123;

export function scripted() {
  const topics = new Map();
  const asked = {};
  const topicOf = (path) => {
    if (!topics.has(path)) topics.set(path, { page: PAGE, next: 1, log: [], readers: new Set() });
    return topics.get(path);
  };

  function publish(path, text, fields = {}) {
    const topic = topicOf(path);
    const message = { topic_sequence_number: topic.next, sequence_page: topic.page,
      publish_timestamp: Date.now(), value: { text }, ...fields };
    topic.next += 1;
    topic.log.push(message);
    if (path.startsWith('/short/') && topic.log.length > 5) topic.log.shift();
    for (const reader of [...topic.readers]) reader();
    return message;
  }

  /** What a subscriber gets who expects `page:number`: items, and where it stands then. */
  function read(topic, page, number, from) {
    const first = topic.next - topic.log.length;
    const items = [];
    let at = number;
    if (page === 0) {
      at = from === 'earliest' ? first : topic.next;
    } else if (page !== topic.page || number < first || number > topic.next) {
      at = first;
      items.push({ discontinuity: { last_topic_sequence: Math.max(0, number - 1),
        new_topic_sequence: at, new_sequence_page: topic.page } });
    }
    for (const item of topic.log) if (item.topic_sequence_number >= at) items.push({ item });
    return { items, next: topic.next };
  }

  function poll(topic, query, response) {
    const [page, number] = ['sequence_page', 'sequence_number'].map((name) => Number(query.get(name) ?? 0));
    const answer = () => {
      const { items, next } = read(topic, page, number, query.get('from'));
      topic.readers.delete(answer);
      clearTimeout(timer);
      response.setHeader('Content-Type', 'application/json');
      response.end(JSON.stringify({ items, next_sequence_page: topic.page, next_sequence_number: next }));
    };
    let at = [page, number];
    if (page === 0 && query.get('from') !== 'earliest') at = [topic.page, topic.next];
    const timer = setTimeout(answer, Number(query.get('wait_ms') ?? 20000));
    if (read(topic, ...at, query.get('from')).items.length > 0) answer();
    else topic.readers.add(answer);
  }

  function stream(topic, mode, query, response) {
    response.setHeader('Content-Type', 'text/event-stream');
    response.flushHeaders();
    if (mode === 'kept') return;
    const [page, last] = (query.get('last_event_id') ?? '0:0').split(':').map(Number);
    let sent = 0;
    let [at, next] = [page, page === 0 ? 0 : last + 1];
    const send = () => {
      const now = read(topic, at, next, query.get('from'));
      [at, next] = [topic.page, now.next];
      for (const { item, discontinuity } of now.items) {
        const [data, number] = [item ?? discontinuity,
          item ? item.topic_sequence_number : discontinuity.new_topic_sequence - 1];
        const kind = item ? '' : 'event: discontinuity\n';
        response.write(`${kind}id: ${topic.page}:${number}\ndata: ${JSON.stringify(data)}\n\n`);
        sent += 1;
        if (mode === 'cut' && sent === 3) {
          topic.readers.delete(send);
          response.end();
          return;
        }
      }
    };
    const begin = page === 0 && query.get('from') !== 'earliest' ? topic.next - 1 : last;
    response.write(`retry: 100\nid: ${topic.page}:${begin}\n\n`);
    topic.readers.add(send);
    response.on('close', () => topic.readers.delete(send));
    if (page === 0 && query.get('from') !== 'earliest') [at, next] = [topic.page, topic.next];
    send();
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://x');
    const mode = url.pathname.split('/')[1];
    const topic = topicOf(url.pathname);
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.setHeader('Access-Control-Expose-Headers', '*');
    asked[mode] = (asked[mode] ?? 0) + 1;
    if (mode === 'busy' && asked.busy <= 2) response.writeHead(503).end('{}');
    else if (mode === 'closed') response.writeHead(403).end('no');
    else if (request.method === 'POST') {
      let text = '';
      request.on('data', (chunk) => { text += chunk; });
      request.on('end', () => {
        const fields = {};
        if (url.searchParams.has('program_date_time')) fields.program_date_time = url.searchParams.get('program_date_time');
        if (url.searchParams.has('media_sequence')) fields.media_sequence = Number(url.searchParams.get('media_sequence'));
        const { topic_sequence_number: number } = publish(url.pathname, text, fields);
        response.writeHead(204, { 'Topic-Position': `${topic.page}:${number}` }).end();
      });
    } else if (request.headers.accept?.includes('text/event-stream')) stream(topic, mode, url.searchParams, response);
    else poll(topic, url.searchParams, response);
  });
  const forget = (path) => Object.assign(topicOf(path), { page: topicOf(path).page + 1, next: 1, log: [] });
  return { server, publish, forget };
}
