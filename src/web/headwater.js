// Messages beside the stream: the browser's side of Headwater's topics, one module, nothing to build.
//
//   import { subscribe, publish, playbackOf, inTime } from '/topics/headwater.js';
//
//   const playback = playbackOf(video, { hls });          // or { dash }, { shaka }, or functions
//   const timed = inTime(video, playback, (message) => show(message.value.text));
//   const subscription = subscribe('/topics/show/poll', { onMessage: timed.add });
//
// `subscribe` follows a topic by Server-Sent Events, by long-poll where something on the way keeps
// events back, and resumes behind the last message after every break; what can no longer be had is
// told to `onDiscontinuity`. `inTime` hands a message over when playback reaches its program date
// time or media sequence, and at once what carries neither.
//
// Each message is handed over once and in order of its topic; waits and queues are bounded.

const OPEN_MS = 5000; // a stream that says nothing for so long is kept back on the way
const SILENT_MS = 40000; // the origin says something every 15 s
const RETRY_MS = [500, 15000]; // least and longest pause before another try
const STREAM_AGAIN_MS = 60000; // so long by long-poll, then events are tried again
const POLL_MS = 20000; // longest wait of one long-poll
const LINE_CHARS_MAX = 1 << 20; // of an event; longer ones break the stream
const QUEUE_MAX = 2000; // messages that wait for their instant; the earliest give way

/** A refusal that another try would not change. */
export class Refused extends Error {
  constructor(status, text) {
    super(`${status} ${text}`);
    this.status = status;
  }
}

/**
 * Follows a topic until `close()`.
 *
 * Options: `onMessage(message)`, `onDiscontinuity(gap)`, `onState(state)` with 'open', 'waiting',
 * 'closed'; `onError(error)` before another try, or before the end when it is a `Refused`;
 * `from: 'earliest'` to get what the log holds; `token` (bearer); `position` from an earlier
 * subscription; `transport: 'sse'` or `'poll'` to have just one.
 *
 * Returns `{ close(), position, transport, closed }`; `closed` is a promise.
 */
export function subscribe(topic, options = {}) {
  const run = new Subscription(new URL(topic, globalThis.location?.href), options);
  run.closed = run.follow();
  return run;
}

class Subscription {
  constructor(url, options) {
    this.url = url;
    this.options = options;
    /** `{ page, number }` of the message expected next. */
    this.position = options.position ?? { page: 0, number: 0 };
    this.transport = options.transport ?? 'sse';
    this.abort = new AbortController();
    this.state = 'waiting';
    this.failures = 0;
    this.retryMs = RETRY_MS[0];
    this.streamAgainAt = 0;
  }

  close() {
    this.abort.abort();
  }

  async follow() {
    while (!this.abort.signal.aborted) {
      try {
        await (this.byStream() ? this.stream() : this.poll());
        this.failures = 0;
      } catch (error) {
        if (this.abort.signal.aborted) break;
        this.failures += 1;
        this.options.onError?.(error);
        if (error instanceof Refused) break;
        if (error instanceof KeptBack || this.failures >= 3) this.fallBack();
      }
      if (this.failures > 0) {
        this.tell('waiting');
        await this.pause();
      }
    }
    this.tell('closed');
  }

  byStream() {
    if (this.options.transport) return this.options.transport === 'sse';
    if (this.transport === 'poll' && this.streamAgainAt < Date.now()) this.transport = 'sse';
    return this.transport === 'sse';
  }

  fallBack() {
    if (this.options.transport || this.transport === 'poll') return;
    this.transport = 'poll';
    this.failures = 0;
    this.streamAgainAt = Date.now() + STREAM_AGAIN_MS;
  }

  /** Waits before another try: longer each time, and not everybody at the same instant. */
  pause() {
    const longest = Math.min(RETRY_MS[1], this.retryMs * 2 ** Math.min(this.failures - 1, 6));
    const ms = longest * (0.5 + Math.random() / 2);
    const { signal } = this.abort;
    return new Promise((done) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        done();
      };
      const timer = setTimeout(end, ms);
      signal.addEventListener('abort', end);
    });
  }

  tell(state) {
    if (state === this.state) return;
    this.state = state;
    this.options.onState?.(state, this.transport);
  }

  /** Asks; a try of its own that ends with the subscription or by `attempt.abort()`. */
  async ask(url, headers, attempt) {
    const { token } = this.options;
    if (token) headers.Authorization = `Bearer ${token}`;
    const signal = attempt.signal;
    const answer = await fetch(url, { headers, signal, cache: 'no-store' });
    if (answer.ok) return answer;
    const text = await answer.text().catch(() => '');
    const again = answer.status === 429 || answer.status === 408 || answer.status >= 500;
    throw again ? new Error(`${answer.status} ${text}`) : new Refused(answer.status, text);
  }

  /** An attempt that ends with the subscription; `kick(ms)` gives it so much longer. */
  attempt() {
    const own = new AbortController();
    const stop = () => own.abort();
    this.abort.signal.addEventListener('abort', stop, { once: true });
    let timer;
    return {
      signal: own.signal,
      kick: (ms) => { clearTimeout(timer); timer = setTimeout(stop, ms); },
      end: () => {
        clearTimeout(timer);
        this.abort.signal.removeEventListener('abort', stop);
        own.abort();
      },
    };
  }

  /** Server-Sent Events, read from the body so that a token can be sent along. */
  async stream() {
    const { page, number } = this.position;
    const headers = { Accept: 'text/event-stream' };
    const url = this.address();
    // As a query: a header would cost a page of another origin a preflight.
    if (page > 0) url.searchParams.set('last_event_id', `${page}:${Math.max(0, number - 1)}`);
    const attempt = this.attempt();
    let heard = false;
    attempt.kick(OPEN_MS);
    try {
      const answer = await this.ask(url, headers, attempt);
      const type = answer.headers.get('Content-Type') ?? '';
      if (!type.startsWith('text/event-stream')) throw new KeptBack(`the answer is ${type}`);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const events = new Events();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        heard = true;
        attempt.kick(SILENT_MS);
        this.failures = 0;
        this.tell('open');
        for (const event of events.take(value)) this.event(event);
      }
      // An ended stream is taken up again after a pause; a drain sends everybody away at once.
      if (heard) throw new Error('the stream ended');
      throw new KeptBack('the stream is empty');
    } catch (error) {
      if (!heard && attempt.signal.aborted && !this.abort.signal.aborted) {
        throw new KeptBack('no event came in time');
      }
      throw error;
    } finally {
      attempt.end();
    }
  }

  event({ kind, id, data, retry }) {
    if (retry) this.retryMs = Math.min(Math.max(retry, 100), RETRY_MS[1]);
    if (data !== '') {
      const body = JSON.parse(data);
      if (kind === 'discontinuity') this.gap(body);
      else if (kind === 'message') this.item(body);
    }
    const found = /^(\d+):(\d+)$/.exec(id ?? '');
    if (found) this.position = { page: Number(found[1]), number: Number(found[2]) + 1 };
  }

  /** One long-poll. */
  async poll() {
    const url = this.address();
    const { page, number } = this.position;
    if (page > 0) {
      url.searchParams.set('sequence_page', page);
      url.searchParams.set('sequence_number', number);
    }
    url.searchParams.set('wait_ms', POLL_MS);
    const attempt = this.attempt();
    attempt.kick(POLL_MS + 10000);
    try {
      const answer = await this.ask(url, { Accept: 'application/json' }, attempt);
      const body = await answer.json();
      this.tell('open');
      for (const { item, discontinuity } of body.items) {
        if (item) this.item(item);
        if (discontinuity) this.gap(discontinuity);
      }
      this.position = { page: body.next_sequence_page, number: body.next_sequence_number };
    } finally {
      attempt.end();
    }
  }

  address() {
    const url = new URL(this.url);
    if (this.options.from && this.position.page === 0) url.searchParams.set('from', this.options.from);
    return url;
  }

  item(message) {
    const page = message.sequence_page;
    const number = message.topic_sequence_number;
    if (page === this.position.page && number < this.position.number) return;
    this.position = { page, number: number + 1 };
    hand(this.options.onMessage, message);
  }

  gap(gap) {
    this.position = { page: gap.new_sequence_page, number: gap.new_topic_sequence };
    hand(this.options.onDiscontinuity, gap);
  }
}

/** A handler that throws is the page's mistake and must not cost it what comes after. */
function hand(handler, ...what) {
  try {
    handler?.(...what);
  } catch (error) {
    globalThis.reportError?.(error);
  }
}

/** Events do not come through, though requests do. */
class KeptBack extends Error {}

/** Cuts a text stream into events (HTML standard, 9.2.6). */
class Events {
  rest = '';
  event = { kind: 'message', id: undefined, data: [], retry: 0, lines: 0 };

  take(text) {
    this.rest += text;
    const lines = this.rest.split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    if (this.rest.length > LINE_CHARS_MAX) throw new Error('an event is too long');
    const events = [];
    for (const line of lines) {
      if (line !== '') this.line(line);
      else if (this.event.lines > 0) events.push(this.finish());
    }
    return events;
  }

  line(line) {
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    this.event.lines += 1;
    if (name === 'data') this.event.data.push(value);
    else if (name === 'id') this.event.id = value;
    else if (name === 'event') this.event.kind = value;
    else if (name === 'retry' && /^\d+$/.test(value)) this.event.retry = Number(value);
  }

  finish() {
    const { kind, id, data, retry } = this.event;
    this.event = { kind: 'message', id: undefined, data: [], retry: 0, lines: 0 };
    return { kind, id, data: data.join('\n'), retry };
  }
}

/**
 * Publishes a text (or bytes, as an ArrayBuffer or a view of one). Options: `programDateTime` (a
 * Date or milliseconds since 1970), `mediaSequence`, `token`. Throws `Refused` when it is refused.
 */
export async function publish(topic, value, { programDateTime, mediaSequence, token } = {}) {
  const url = new URL(topic, globalThis.location?.href);
  if (programDateTime !== undefined) {
    url.searchParams.set('program_date_time', new Date(programDateTime).toISOString());
  }
  if (mediaSequence !== undefined) url.searchParams.set('media_sequence', mediaSequence);
  const isText = typeof value === 'string';
  const headers = { 'Content-Type': isText ? 'text/plain; charset=utf-8' : 'application/octet-stream' };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(url, { method: 'POST', headers, body: value });
  if (!answer.ok) throw new Refused(answer.status, await answer.text().catch(() => ''));
  return answer.headers.get('Topic-Position');
}

/**
 * Where playback is: `date()` in milliseconds since 1970 and `sequence()` of the segment on
 * screen, each null while it is not known. From hls.js, dash.js, shaka-player, or the page's own
 * functions; without any, from the element itself (Safari's `getStartDate`).
 */
export function playbackOf(video, { hls, dash, shaka, date, sequence } = {}) {
  const number = (value) => (Number.isFinite(value) ? value : null);
  const none = () => null;
  if (hls) {
    return {
      date: date ?? (() => number(hls.playingDate?.getTime())),
      sequence: sequence ?? hlsSequence(hls),
    };
  }
  if (dash) {
    return {
      date: date ?? (() => (dash.isReady() && video.readyState > 0 ? number(dash.timeAsUTC() * 1000) : null)),
      sequence: sequence ?? dashSequence(dash, video),
    };
  }
  if (shaka) {
    return {
      date: date ?? (() => number(shaka.getPlayheadTimeAsDate()?.getTime())),
      sequence: sequence ?? none,
    };
  }
  const started = () => number(video.getStartDate?.().getTime());
  const own = () => (started() === null ? null : started() + video.currentTime * 1000);
  return { date: date ?? own, sequence: sequence ?? none };
}

/** hls.js tells when another fragment is on screen; starts of listed ones move until it plays. */
function hlsSequence(hls) {
  let playing = null;
  hls.on('hlsFragChanged', (_, { frag }) => {
    if (frag.type === 'main' && Number.isFinite(frag.sn)) playing = frag.sn;
  });
  return () => playing;
}

/** dash.js tells the numbers of video segments as it asks for them; `$Number$` templates only. */
function dashSequence(dash, video) {
  const loaded = []; // [start, number] in order of their start; the last hundred
  dash.on('fragmentLoadingStarted', ({ request }) => {
    const number = /(\d+)\.\w+(\?.*)?$/.exec(request?.url ?? '')?.[1];
    if (request?.mediaType !== 'video' || number === undefined || !Number.isFinite(request.startTime)) return;
    loaded.push([request.startTime, Number(number)]);
    loaded.sort((a, b) => a[0] - b[0]);
    if (loaded.length > 100) loaded.shift();
  });
  return () => loaded.findLast(([start]) => start <= video.currentTime + 0.001)?.[1] ?? null;
}

/**
 * Hands messages over when playback reaches their instant: `handler(message, { lateMs })`.
 * `lateMs` says how long ago that was in the programme: about 0, or more for messages that came
 * after their instant (null without one). `maxLateMs` drops what is later. Messages with neither
 * a date nor a sequence are handed over at once.
 *
 * Returns `{ add(message), waiting, close() }`; `add` can be passed on as `onMessage`.
 */
export function inTime(video, playback, handler, { maxLateMs = Infinity } = {}) {
  const queue = []; // { message, date, sequence } in order of arrival
  let timer = null;
  let frame = null;
  const due = (one) => {
    if (one.date !== null) {
      const now = playback.date();
      return now === null ? null : now - one.date;
    }
    const now = playback.sequence();
    return now === null || now < one.sequence ? null : 0;
  };
  const look = () => {
    for (let at = 0; at < queue.length;) {
      const late = due(queue[at]);
      if (late === null || late < 0) { at += 1; continue; }
      const [{ message }] = queue.splice(at, 1);
      if (late <= maxLateMs) hand(handler, message, { lateMs: late });
    }
    if (queue.length === 0) rest();
  };
  // Each frame on screen, and a slow clock beside it for pages in the background.
  const watch = () => {
    timer ??= setInterval(look, 200);
    if (frame === null && video.requestVideoFrameCallback) {
      const next = () => { frame = video.requestVideoFrameCallback(() => { look(); if (frame !== null) next(); }); };
      next();
    }
  };
  const rest = () => {
    clearInterval(timer);
    timer = null;
    if (frame !== null) video.cancelVideoFrameCallback(frame);
    frame = null;
  };
  const add = (message) => {
    const date = Date.parse(zoned(message.program_date_time) ?? '');
    const sequence = message.media_sequence ?? null;
    if (Number.isNaN(date) && sequence === null) {
      hand(handler, message, { lateMs: null });
      return;
    }
    queue.push({ message, date: Number.isNaN(date) ? null : date, sequence });
    if (queue.length > QUEUE_MAX) queue.shift();
    watch();
    look();
  };
  return { add, close: () => { queue.length = 0; rest(); }, get waiting() { return queue.length; } };
}

/** Zones as some packagers write them (`+0000`), in the form that every browser reads. */
function zoned(text) {
  return text?.replace(/([+-]\d\d)(\d\d)$/, '$1:$2');
}
