// Plays one scripted live stream with the real hls.js in headless Chromium, then with one virtual
// viewer of the load generator, and compares what each asked the origin for, and when.
//
// The origin is scripted and starts anew for each: a ladder of three, segments of two seconds, a link
// that narrows from 20 Mbit/s to 900 kbit/s and widens again, and one segment that comes 8 s late.
// Usage: node agree.mjs MEDIA LOADTEST FOLDER   (MEDIA: 0/ 1/ 2/ with init.mp4 and N.m4s)
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [media, loadtest, folder] = process.argv.slice(2);
const require = createRequire(join(folder, 'package.json'));
const { chromium } = require('playwright-core');

const SEGMENT_S = 2, WINDOW = 6, SECONDS = 104, LATE_FROM_S = 82, LATE_S = 8;
const LINK = [[20, 20e6], [40, 900e3], [Infinity, 20e6]];
const bandwidth = (t) => LINK.find(([until]) => t < until)[1];
const bytes = (level, name) => readFileSync(join(media, String(level), name));
const peak = (level) => Math.max(...[...Array(8).keys()].map((n) => bytes(level, `${n}.m4s`).length)) * 8 / SEGMENT_S;
const LADDER = [0, 1, 2].map((level) => Math.round(peak(level) * 1.02));

const sessions = {};
function session(name) {
  sessions[name] ??= { began: Date.now(), log: [], free: 0, late: false };
  return sessions[name];
}

function master() {
  return '#EXTM3U\n#EXT-X-VERSION:6\n' + LADDER.map((bandwidth, level) =>
    `#EXT-X-STREAM-INF:BANDWIDTH=${bandwidth},CODECS="avc1.42c01e",RESOLUTION=${[160, 320, 640][level]}x${[90, 180, 360][level]}\n${level}/index.m3u8\n`).join('');
}

function playlist(t) {
  const first = Math.floor(t / SEGMENT_S);
  const list = [...Array(WINDOW).keys()].map((n) => `#EXTINF:${SEGMENT_S}.000,\n${first + n}.m4s\n`);
  return `#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:${SEGMENT_S}\n#EXT-X-MEDIA-SEQUENCE:${first}\n#EXT-X-MAP:URI="init.mp4"\n${list.join('')}`;
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Sends a body as fast as the link lets it; all answers of a session share the link.
async function send(response, one, body) {
  for (let at = 0; at < body.length && !response.destroyed; at += 4096) {
    const piece = body.subarray(at, at + 4096);
    const now = (Date.now() - one.began) / 1000;
    one.free = Math.max(one.free, now) + piece.length * 8 / bandwidth(now);
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
  if (!['hlsjs', 'viewer'].includes(name)) return response.writeHead(404).end();
  const one = session(name);
  const t = (Date.now() - one.began) / 1000;
  const [level, file] = rest.length > 1 ? [Number(rest[0]), rest[1]] : [null, rest[0]];
  const entry = { t, level, file };
  one.log.push(entry);
  if (file === 'master.m3u8' || file === 'index.m3u8') {
    response.setHeader('Content-Type', 'application/vnd.apple.mpegurl');
    if (level !== null) entry.edge = Math.floor(t / SEGMENT_S) + WINDOW - 1;
    return response.end(level === null ? master() : playlist(t));
  }
  response.setHeader('Content-Type', 'video/mp4');
  const body = bytes(level, file);
  entry.bytes = body.length;
  response.setHeader('Content-Length', body.length);
  if (file !== 'init.mp4' && !one.late && t > LATE_FROM_S) {
    one.late = true;
    await sleep(LATE_S * 1000);
  }
  await send(response, one, body);
  entry.done = (Date.now() - one.began) / 1000;
}).listen(0, '127.0.0.1');
await new Promise((done) => server.once('listening', done));
const url = (name) => `http://127.0.0.1:${server.address().port}/${name}`;

// Runs in the page: a plain hls.js; window.look tells of stalls.
function start(source) {
  const video = document.getElementById('v');
  const state = (window.state = { stalls: 0, stalled: 0, errors: [], version: Hls.version });
  let since = null, begun = false;
  video.addEventListener('playing', () => {
    begun = true;
    if (since !== null) state.stalled += (performance.now() - since) / 1000;
    since = null;
  });
  video.addEventListener('waiting', () => {
    if (begun && since === null) { state.stalls += 1; since = performance.now(); }
  });
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
const tab = await browser.newPage();
await tab.goto(url('page'));
await tab.evaluate(start, `${url('hlsjs')}/master.m3u8`);
await sleep(SECONDS * 1000);
const real = await tab.evaluate(() => window.state);
await browser.close();

const report = join(folder, 'viewer.json');
await new Promise((done) => execFile(loadtest, ['live', `${url('viewer')}/master.m3u8`, '-n', '1', '--arrivals', 'synchronised',
  '--ramp', '0s', '-d', `${SECONDS}s`, '--verify', '0', '--patience', '60s', '--quiet', '--report', report], done));
const { qoe } = JSON.parse(readFileSync(report, 'utf8'));
server.close();
writeFileSync(join(folder, 'agree.json'), JSON.stringify({ real, qoe, ladder: LADDER, sessions }, null, 1));

// What hls.js did, for the replay in the load generator's own tests.
const round = (value) => value === undefined ? null : Math.round(value * 1000) / 1000;
const requests = sessions.hlsjs.log.map((one) => [round(one.t), one.level, one.file, one.bytes ?? null, round(one.done)]);
const link = LINK.map(([until, rate]) => [Math.min(until, SECONDS), rate]);
writeFileSync(join(folder, 'trace.json'), `${JSON.stringify({
  player: `hls.js ${real.version}`, segment_s: SEGMENT_S, window: WINDOW, seconds: SECONDS, link, late_from_s: LATE_FROM_S,
  late_s: LATE_S, ladder: LADDER, stalls: real.stalls, stalled_s: round(real.stalled), requests,
})}\n`.replaceAll('],[', '],\n['));

// What a session's requests say of its player.
function facts(name) {
  const { log } = sessions[name];
  const segments = log.filter((one) => /^\d+\.m4s$/.test(one.file)).map((one) => ({ ...one, msn: parseInt(one.file, 10) }));
  const lists = log.filter((one) => one.file === 'index.m3u8');
  const gaps = lists.slice(1).map((one, n) => one.t - lists[n].t).filter((gap) => gap > 0.2).sort((a, b) => a - b);
  const before = lists.filter((one) => one.t <= segments[0].t).at(-1);
  const levels = new Map(segments.map((one) => [one.msn, one.level]));
  const lowered = segments.find((one) => one.t > 20 && one.level < 2)?.t;
  const raised = segments.find((one) => one.t > 40 && one.level === 2)?.t;
  return { behind: before.edge - segments[0].msn, first: segments[0].level, reload: gaps[Math.floor(gaps.length / 2)], levels, lowered, raised, segments: segments.length };
}
const [a, b] = [facts('hlsjs'), facts('viewer')];
const common = [...a.levels.keys()].filter((msn) => b.levels.has(msn));
const same = common.filter((msn) => a.levels.get(msn) === b.levels.get(msn)).length;
let fine = true;
function row(what, left, right, ok) {
  fine &&= ok;
  const show = (value) => (typeof value === 'number' && !Number.isInteger(value) ? value.toFixed(2) : String(value));
  console.log(`${ok ? 'OK    ' : 'FAILED'} ${what}: hls.js ${show(left)}, viewer ${show(right)}`);
}
const near = (x, y, most) => x !== undefined && y !== undefined && Math.abs(x - y) <= most;
console.log(`hls.js ${real.version}, ladder ${LADDER.join(', ')} bit/s`);
row('first segment, behind the newest', a.behind, b.behind, a.behind === b.behind);
row('level of the first segment', a.first, b.first, a.first === b.first);
row('seconds between reloads (median)', a.reload, b.reload, near(a.reload, b.reload, 0.2));
row('goes down after the link narrows, at', a.lowered, b.lowered, near(a.lowered, b.lowered, 2 * SEGMENT_S));
row('is up again after it widens, at', a.raised, b.raised, near(a.raised, b.raised, 5 * SEGMENT_S));
row('segments asked for', a.segments, b.segments, near(a.segments, b.segments, 3));
row(`same level, of ${common.length} segments`, common.length, same, same >= common.length * 0.8);
const stalls = qoe.counts.stalls;
row('stalls', real.stalls, stalls, near(real.stalls, stalls, 1));
for (const [name, one] of [['hls.js', a], ['viewer', b]]) {
  console.log(`${name}: ${[...one.levels].map(([msn, level]) => `${msn}:${level}`).join(' ')}`);
}
process.exit(fine && real.errors.length === 0 ? 0 : 1);
