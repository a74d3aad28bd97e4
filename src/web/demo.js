// The demo page: a live channel with a poll and reactions that appear with the picture.
//
// Query: `stream` (the playlist), `topic` (its name), `hls` (where hls.js lies), `low=1` for parts,
// `transport` to force one. The studio and the viewers publish to one topic, because a browser has
// six connections to a host over HTTP/1.1, and the player needs them.
import { inTime, playbackOf, publish, subscribe } from '/topics/headwater.js';

const query = new URLSearchParams(location.search);
const stream = query.get('stream') ?? '/hls/master.m3u8';
const library = query.get('hls') ?? '/demo/hls.min.js';
const name = query.get('topic') ?? 'demo/show';
const topic = `/topics/${name}`;
const element = (id) => document.getElementById(id);
const video = element('video');
const SHOWN_MS = 10000;

const SHAPES = {
  heart: ['#ff5d73', 'M16 28C6 20 3 16 3 11a7 7 0 0 1 13-3.5A7 7 0 0 1 29 11c0 5-3 9-13 17z'],
  star: ['#ffc94d', 'M16 3l4 9 9.5 1-7 6.5 2 9.5L16 24l-8.5 5 2-9.5-7-6.5 9.5-1z'],
  flame: ['#ff8a3d', 'M17 2c1 6 8 9 8 17a9 9 0 0 1-18 0c0-4 2-6 4-9 0 3 1 4 3 5 0-5 0-9 3-13z'],
  bolt: ['#7ad7ff', 'M18 2L6 18h8l-2 12L26 13h-9z'],
};

function shape(kind) {
  const [colour, path] = SHAPES[kind];
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 32 32');
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  line.setAttribute('d', path);
  line.setAttribute('fill', colour);
  svg.append(line);
  return svg;
}

function complain(what) {
  element('said').textContent = what;
}

/** The text of a message as JSON; null when it is none. */
function content(message) {
  try {
    return JSON.parse(message.value.text);
  } catch {
    return null;
  }
}

// The picture.

async function play() {
  const { default: Hls } = await importScript(library);
  if (Hls?.isSupported()) {
    const hls = new Hls({ lowLatencyMode: query.get('low') === '1' });
    hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) complain(`The player stopped: ${data.details}`); });
    hls.loadSource(stream);
    hls.attachMedia(video);
    return playbackOf(video, { hls });
  }
  video.src = stream;
  return playbackOf(video);
}

function importScript(source) {
  return new Promise((done) => {
    const script = document.createElement('script');
    script.src = source;
    script.onload = script.onerror = () => done({ default: globalThis.Hls });
    document.head.append(script);
  });
}

function clockOf(date) {
  const two = (value, digits = 2) => String(value).padStart(digits, '0');
  const tenth = Math.floor(date.getMilliseconds() / 100);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${tenth}`;
}

function showClock(playback) {
  const date = playback.date();
  if (date === null) return;
  element('clock').textContent = clockOf(new Date(date));
  element('behind').textContent = `${((Date.now() - date) / 1000).toFixed(1)} s behind`;
}

// The poll.

const poll = { id: null, counts: [], mine: null, early: [] };

function openPoll({ id, question, options }) {
  Object.assign(poll, { id, counts: options.map(() => 0), mine: null });
  element('question').textContent = question;
  element('options').replaceChildren(...options.map((text, index) => {
    const button = document.createElement('button');
    button.className = 'option';
    button.type = 'button';
    const [bar, words, share] = ['i', 'span', 'span'].map((tag) => document.createElement(tag));
    words.textContent = text;
    button.append(bar, words, share);
    button.onclick = () => vote(index);
    return button;
  }));
  const early = poll.early.filter((one) => one.poll === id);
  poll.early = [];
  early.forEach(count);
  showPoll();
}

function closePoll({ id }) {
  if (id !== poll.id) return;
  for (const button of element('options').children) button.disabled = true;
  showPoll('The poll is closed.');
}

function count(one) {
  if (one.poll === poll.id && poll.counts[one.option] !== undefined) {
    poll.counts[one.option] += 1;
    showPoll();
  } else if (one.poll !== poll.id) {
    // Votes of viewers who are nearer to the live edge.
    poll.early.push(one);
    if (poll.early.length > 10000) poll.early.shift();
  }
}

async function vote(option) {
  if (poll.mine !== null) return;
  poll.mine = option;
  for (const button of element('options').children) button.disabled = true;
  element('options').children[option].classList.add('mine');
  await publish(topic, JSON.stringify({ vote: { poll: poll.id, option } })).catch((error) => {
    poll.mine = null;
    complain(`The vote was not taken: ${error.message}`);
  });
}

function showPoll(note) {
  const all = poll.counts.reduce((sum, one) => sum + one, 0);
  [...element('options').children].forEach((button, index) => {
    const share = all === 0 ? 0 : Math.round((100 * poll.counts[index]) / all);
    button.children[0].style.width = `${share}%`;
    button.children[2].textContent = `${share} %`;
  });
  element('votes').textContent = note ?? `${all} ${all === 1 ? 'vote' : 'votes'}`;
}

// Reactions.

function bubble(kind) {
  const svg = shape(kind);
  svg.classList.add('bubble');
  svg.style.right = `${4 + Math.random() * 22}%`;
  svg.style.setProperty('--drift', `${Math.round(Math.random() * 60 - 30)}px`);
  svg.addEventListener('animationend', () => svg.remove());
  if (element('stage').querySelectorAll('.bubble').length < 60) element('stage').append(svg);
}

function offerReactions(playback) {
  const buttons = Object.keys(SHAPES).map((kind) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.ariaLabel = kind;
    button.append(shape(kind));
    button.onclick = () => publish(topic, JSON.stringify({ reaction: kind }), {
      programDateTime: playback.date() ?? undefined,
    }).catch((error) => complain(`The reaction was not taken: ${error.message}`));
    return button;
  });
  element('reactions').prepend(...buttons);
}

/** What was handed over, newest first; also for tests, with how late it was. */
const handed = (globalThis.handed = []);

function note(message, lateMs, words) {
  handed.push({ lateMs, words, at: Date.now() });
  if (handed.length > 1000) handed.shift();
  const item = document.createElement('li');
  const [time, text, late] = ['time', 'span', 'em'].map((tag) => document.createElement(tag));
  time.textContent = clockOf(new Date(message.program_date_time ?? message.publish_timestamp));
  text.textContent = words;
  late.textContent = lateMs === null ? 'at once' : `+${Math.round(lateMs)} ms`;
  item.append(time, text, late);
  const log = element('log');
  if (handed.length === 1) log.replaceChildren();
  log.prepend(item);
  while (log.children.length > 6) log.lastChild.remove();
}

const playback = await play();
setInterval(() => showClock(playback), 100);
element('sound').onclick = () => {
  video.muted = !video.muted;
  element('sound').textContent = video.muted ? 'Sound on' : 'Sound off';
};
offerReactions(playback);

const onState = (state, transport) => {
  element('live').classList.toggle('on', state === 'open');
  const by = document.createElement('span');
  by.textContent = transport === 'sse' ? 'by events' : 'by long-poll';
  element('live').replaceChildren(...(state === 'open' ? ['live', by] : ['connecting']));
};
const transport = query.get('transport') ?? undefined;
const onError = (error) => { if (error.status) complain(`A topic was refused: ${error.message}`); };
const timed = inTime(video, playback, (message, { lateMs }) => {
  const what = content(message) ?? {};
  if (what.open) openPoll(what.open);
  if (what.close) closePoll(what.close);
  if (what.vote) count(what.vote);
  // The log of the topic goes further back than what is worth showing.
  if (lateMs > SHOWN_MS) return;
  const reaction = Object.hasOwn(SHAPES, what.reaction ?? '') ? what.reaction : null;
  if (reaction) bubble(reaction);
  if (what.say) note(message, lateMs, String(what.say));
  else if (what.open || what.close) note(message, lateMs, what.open ? 'poll opened' : 'poll closed');
  else if (reaction) note(message, lateMs, reaction);
});
globalThis.subscriptions = [
  subscribe(topic, { from: 'earliest', transport, onMessage: timed.add, onState, onError }),
  subscribe(`/topics/presence/${name}`, {
    transport,
    onMessage: (message) => { element('viewers').textContent = content(message)?.subscribers ?? '-'; },
  }),
];
