// Plays scripted live streams with the real hls.js in headless Chromium and, at the same time, with
// one virtual viewer of the load generator, and compares what each asked the origin for, and when,
// and when each stalled. What hls.js did is left as traces, which the load generator's tests replay.
//
// The origin is scripted and starts anew for each: a ladder of three, segments of two seconds, and
// one mishap by scenario.
// Usage: node agree.mjs MEDIA LOADTEST FOLDER [SCENARIO...]   (MEDIA: 0/ 1/ 2/ with init.mp4 and N.m4s)
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [media, loadtest, folder, ...only] = process.argv.slice(2);
const require = createRequire(join(folder, 'package.json'));
const { chromium } = require('playwright-core');

const SEGMENT_S = 2, WINDOW = 6;
// Of the link: bits per second until an instant. `late`: the first segment asked for after an instant
// waits so long. `silent`: no segment's answer begins within. `frozen`: playlists list what they did
// at its begin.
const SCENARIOS = [
  { name: 'start', seconds: 20, link: [[20, 20e6]] },
  { name: 'up', seconds: 44, link: [[12, 500e3], [44, 20e6]] },
  { name: 'down', seconds: 44, link: [[12, 20e6], [44, 900e3]] },
  { name: 'there and back', seconds: 104, link: [[20, 20e6], [40, 900e3], [104, 20e6]], late: [82, 8] },
  { name: 'silence', seconds: 44, link: [[44, 20e6]], silent: [14, 23] },
  { name: 'starved', seconds: 60, link: [[10, 20e6], [28, 100e3], [60, 20e6]] },
  { name: 'old playlists', seconds: 44, link: [[44, 20e6]], frozen: [14, 24] },
].filter((one) => only.length === 0 || only.includes(one.name));
const bandwidth = ({ link }, t) => (link.find(([until]) => t < until) ?? link.at(-1))[1];
const bytes = (level, name) => readFileSync(join(media, String(level), name));
const peak = (level) => Math.max(...[...Array(8).keys()].map((n) => bytes(level, `${n}.m4s`).length)) * 8 / SEGMENT_S;
const LADDER = [0, 1, 2].map((level) => Math.round(peak(level) * 1.02));

const sessions = {};
function session(name, scenario) {
  sessions[name] ??= { script: SCENARIOS[scenario], began: Date.now(), log: [], free: 0, late: false };
  return sessions[name];
}

function master() {
  return '#EXTM3U\n#EXT-X-VERSION:6\n' + LADDER.map((bandwidth, level) =>
    `#EXT-X-STREAM-INF:BANDWIDTH=${bandwidth},CODECS="avc1.42c01e",RESOLUTION=${[160, 320, 640][level]}x${[90, 180, 360][level]}\n${level}/index.m3u8\n`).join('');
}

/** What is the first segment in the window at an instant. */
function firstListed({ frozen }, t) {
  const at = frozen && t >= frozen[0] && t < frozen[1] ? frozen[0] : t;
  return Math.floor(at / SEGMENT_S);
}

function playlist(first) {
  const list = [...Array(WINDOW).keys()].map((n) => `#EXTINF:${SEGMENT_S}.000,\n${first + n}.m4s\n`);
  return `#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:${SEGMENT_S}\n#EXT-X-MEDIA-SEQUENCE:${first}\n#EXT-X-MAP:URI="init.mp4"\n${list.join('')}`;
}

/** Seconds until the answer with a segment begins. */
function pause(one, t) {
  const { late, silent } = one.script;
  if (silent && t >= silent[0] && t < silent[1]) return silent[1] - t;
  if (!late || one.late || t <= late[0]) return 0;
  one.late = true;
  return late[1];
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Sends a body as fast as the link lets it; all answers of a session share the link.
async function send(response, one, body) {
  for (let at = 0; at < body.length && !response.destroyed; at += 4096) {
    const piece = body.subarray(at, at + 4096);
    const now = (Date.now() - one.began) / 1000;
    one.free = Math.max(one.free, now) + piece.length * 8 / bandwidth(one.script, now);
    if (one.free > now + 0.01) await sleep((one.free - now) * 1000);
    response.write(piece);
  }
  response.end();
}

const server = createServer(async (request, response) => {
  const [, name, ...rest] = request.url.split('?')[0].split('/');
  response.setHeader('Access-Control-Allow-Origin', '*');
  if (name === 'page') return response.setHeader('Content-Type', 'text/html') && response.end('<!doctype html><video id="v" muted></video><script src="/lib"></script>');
  if (name === 'lib') return response.end(readFileSync(join(folder, 'node_modules/hls.js/dist/hls.min.js')));
  const [, player, scenario] = name.match(/^(hlsjs|viewer)-(\d+)$/) ?? [];
  if (!player) return response.writeHead(404).end();
  const one = session(name, scenario);
  const t = (Date.now() - one.began) / 1000;
  const [level, file] = rest.length > 1 ? [Number(rest[0]), rest[1]] : [null, rest[0]];
  const entry = { t, level, file };
  one.log.push(entry);
  if (file === 'master.m3u8' || file === 'index.m3u8') {
    response.setHeader('Content-Type', 'application/vnd.apple.mpegurl');
    if (level === null) return response.end(master());
    const first = firstListed(one.script, t);
    entry.edge = first + WINDOW - 1;
    return response.end(playlist(first));
  }
  response.setHeader('Content-Type', 'video/mp4');
  const body = bytes(level, file);
  entry.bytes = body.length;
  response.setHeader('Content-Length', body.length);
  if (file !== 'init.mp4') await sleep(pause(one, t) * 1000);
  await send(response, one, body);
  entry.done = (Date.now() - one.began) / 1000;
}).listen(0, '127.0.0.1');
await new Promise((done) => server.once('listening', done));
const url = (name) => `http://127.0.0.1:${server.address().port}/${name}`;

// Runs in the page: a plain hls.js; window.state tells of stalls, in milliseconds since 1970.
function start(source) {
  const video = document.getElementById('v');
  const state = (window.state = { stalls: [], seeks: [], errors: [], version: Hls.version });
  let begun = false;
  const waits = () => state.stalls.length > 0 && state.stalls.at(-1).length === 1;
  video.addEventListener('playing', () => {
    begun = true;
    if (waits()) state.stalls.at(-1).push(Date.now());
  });
  video.addEventListener('waiting', () => { if (begun && !waits()) state.stalls.push([Date.now()]); });
  video.addEventListener('seeking', () => state.seeks.push([Date.now(), video.currentTime]));
  const hls = new Hls({ lowLatencyMode: false });
  hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) state.errors.push(data.details); });
  hls.loadSource(source);
  hls.attachMedia(video);
  video.play().catch(() => {});
}

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
});
const round = (value) => value === undefined ? null : Math.round(value * 1000) / 1000;

/** Both players go through one scenario: what hls.js says of itself, and the viewer's report. */
async function play({ seconds }, index) {
  const report = join(folder, 'viewer.json');
  const viewer = new Promise((done) => execFile(loadtest, ['live', `${url(`viewer-${index}`)}/master.m3u8`, '-n', '1',
    '--arrivals', 'synchronised', '--ramp', '0s', '-d', `${seconds}s`, '--verify', '0', '--patience', '60s', '--quiet',
    '--report', report], done));
  const tab = await browser.newPage();
  await tab.goto(url('page'));
  await tab.evaluate(start, `${url(`hlsjs-${index}`)}/master.m3u8`);
  await sleep(seconds * 1000);
  const real = await tab.evaluate(() => window.state);
  await tab.close();
  await viewer;
  const { began } = sessions[`hlsjs-${index}`];
  const instant = (ms) => round(ms === undefined ? seconds : (ms - began) / 1000);
  const stalls = real.stalls.map(([from, to]) => [instant(from), instant(to)]);
  return { ...real, stalls, qoe: JSON.parse(readFileSync(report, 'utf8')).qoe };
}

/** What hls.js did, for the replay in the load generator's own tests. */
function keep(script, index, real) {
  const requests = sessions[`hlsjs-${index}`].log.map((one) => [round(one.t), one.level, one.file, one.bytes ?? null, round(one.done)]);
  const trace = { player: `hls.js ${real.version}`, segment_s: SEGMENT_S, window: WINDOW, ladder: LADDER, ...script,
    stalls: real.stalls, requests };
  mkdirSync(join(folder, 'agreement'), { recursive: true });
  writeFileSync(join(folder, 'agreement', `${script.name.replaceAll(' ', '_')}.json`),
    `${JSON.stringify(trace)}\n`.replaceAll('],[', '],\n['));
}

/** What a session's requests say of its player. */
function facts(name) {
  const { log, script } = sessions[name];
  const segments = log.filter((one) => /^\d+\.m4s$/.test(one.file)).map((one) => ({ ...one, msn: parseInt(one.file, 10) }));
  const lists = log.filter((one) => one.file === 'index.m3u8');
  const gaps = lists.slice(1).map((one, n) => one.t - lists[n].t).filter((gap) => gap > 0.2).sort((a, b) => a - b);
  const before = lists.filter((one) => one.t <= segments[0].t).at(-1);
  // The first segment of another level after each change of the link.
  const turns = script.link.slice(0, -1).map(([at]) => {
    const was = segments.filter((one) => one.t <= at).at(-1).level;
    return segments.find((one) => one.t > at && one.level !== was)?.t;
  });
  return { behind: before.edge - segments[0].msn, first: segments[0].level, reload: gaps[Math.floor(gaps.length / 2)],
    turns, levels: new Map(segments.map((one) => [one.msn, one.level])), segments: segments.length };
}

let fine = true;
function row(what, left, right, ok) {
  fine &&= ok;
  const show = (value) => (typeof value === 'number' && !Number.isInteger(value) ? value.toFixed(2) : String(value));
  console.log(`${ok ? 'OK    ' : 'FAILED'} ${what}: hls.js ${show(left)}, viewer ${show(right)}`);
}
const near = (x, y, most) => x !== undefined && y !== undefined && Math.abs(x - y) <= most;

function compare({ name, link }, index, real) {
  console.log(`${name}: hls.js ${real.version}, ladder ${LADDER.join(', ')} bit/s`);
  const [a, b] = [facts(`hlsjs-${index}`), facts(`viewer-${index}`)];
  row('first segment, behind the newest', a.behind, b.behind, a.behind === b.behind);
  row('level of the first segment', a.first, b.first, a.first === b.first);
  row('seconds between reloads (median)', a.reload, b.reload, near(a.reload, b.reload, 0.2));
  a.turns.forEach((turn, n) => row(`changes its level after ${link[n][0]} s, at`, turn ?? 'never', b.turns[n] ?? 'never',
    turn === b.turns[n] || near(turn, b.turns[n], 3 * SEGMENT_S)));
  row('segments asked for', a.segments, b.segments, near(a.segments, b.segments, 3));
  const common = [...a.levels.keys()].filter((msn) => b.levels.has(msn));
  const same = common.filter((msn) => a.levels.get(msn) === b.levels.get(msn)).length;
  row(`same level, of ${common.length} segments`, common.length, same, same >= common.length * 0.8);
  const { stalls, stalled_s: stalled } = real.qoe.counts;
  // Shorter waits are hiccups of the browser.
  const theirs = real.stalls.filter(([from, to]) => to - from >= 0.1);
  const total = theirs.reduce((sum, [from, to]) => sum + to - from, 0);
  row('stalls', theirs.length, stalls, near(theirs.length, stalls, Math.ceil(theirs.length / 4)));
  row('seconds stalled', total, stalled, near(total, stalled, 1 + total / 10));
  console.log(`hls.js stalls: ${real.stalls.map(([from, to]) => `${from} to ${to}`).join(', ')}`);
  for (const [player, one] of [['hls.js', a], ['viewer', b]]) {
    console.log(`${player}: ${[...one.levels].map(([msn, level]) => `${msn}:${level}`).join(' ')}`);
  }
  row('fatal errors', real.errors.join(' ') || 0, 0, real.errors.length === 0);
}

const results = [];
for (const [index, script] of SCENARIOS.entries()) {
  const real = await play(script, index);
  results.push(real);
  keep(script, index, real);
  compare(script, index, real);
}
await browser.close();
server.close();
writeFileSync(join(folder, 'agree.json'), JSON.stringify({ results, ladder: LADDER, sessions }, null, 1));
process.exit(fine ? 0 : 1);
