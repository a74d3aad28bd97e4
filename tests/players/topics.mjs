// Tests the browser's client of topics in headless Chromium: against a server that misbehaves, in
// time with the picture beside hls.js and dash.js, and on the demo page, at two window sizes.
// Usage: node topics.mjs ORIGIN FOLDER    (FOLDER: node_modules with the players; screenshots)
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { scripted } from './scripted.mjs';

const [origin, folder] = process.argv.slice(2);
const require = createRequire(join(folder, 'package.json'));
const { chromium } = require('playwright-core');
const { server, publish, forget } = scripted();
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const faulty = `http://127.0.0.1:${server.address().port}`;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
let failed = 0;

function say(fine, what, figures = '') {
  console.log(`${fine ? 'OK    ' : 'FAILED'} ${what}${figures ? `: ${figures}` : ''}`);
  if (!fine) failed += 1;
}

async function wait(seconds, look) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(100)) if (await look()) return true;
  return false;
}

async function open(browser, address, size) {
  const page = await browser.newPage(size ? { viewport: size } : {});
  page.mistakes = [];
  page.on('pageerror', (error) => page.mistakes.push(error.message));
  await page.goto(address);
  return page;
}

/** Subscribes in the page; `seen(page, name)` tells what came. */
const follow = (page, name, url, options = {}) => page.evaluate(async ([name, url, options]) => {
  const { subscribe } = await import('/topics/headwater.js');
  const seen = { numbers: [], gaps: [], errors: 0, closed: false };
  (window.seen ??= {})[name] = seen;
  seen.run = subscribe(url, {
    ...options,
    onMessage: (message) => seen.numbers.push(message.topic_sequence_number),
    onDiscontinuity: (gap) => seen.gaps.push(gap),
    onError: () => { seen.errors += 1; },
  });
  seen.run.closed.then(() => { seen.closed = true; });
}, [name, url, options]);
const seen = (page, name) => page.evaluate((name) => {
  const { numbers, gaps, errors, closed, run } = window.seen[name];
  return { numbers, gaps, errors, closed, transport: run.transport };
}, name);

const isRun = (numbers, first, last) => numbers.length === last - first + 1
  && numbers.every((number, at) => number === first + at);

async function faults(browser) {
  const page = await open(browser, `${origin}/topics/demo`);
  for (const mode of ['plain', 'kept', 'cut', 'busy']) {
    const path = `/${mode}/topics/a/b`;
    publish(path, 'early');
    await follow(page, mode, faulty + path, { from: 'earliest' });
    for (let at = 0; at < 20; at += 1) { publish(path, String(at)); await sleep(20); }
    await wait(25, async () => (await seen(page, mode)).numbers.length >= 21);
    publish(path, 'last');
    await wait(10, async () => (await seen(page, mode)).numbers.length >= 22);
    const { numbers, gaps, transport } = await seen(page, mode);
    const by = mode === 'kept' ? 'poll' : 'sse';
    say(isRun(numbers, 1, 22) && gaps.length === 0 && transport === by, `client, ${mode}`,
      `${numbers.length} of 22 messages by ${transport}, ${gaps.length} gaps`);
  }
  const path = '/short/topics/a/b';
  publish(path, 'first');
  await follow(page, 'short', faulty + path, { from: 'earliest', transport: 'poll' });
  await wait(10, async () => (await seen(page, 'short')).numbers.length === 1);
  forget(path);
  for (let at = 0; at < 3; at += 1) publish(path, String(at));
  await wait(10, async () => (await seen(page, 'short')).numbers.length >= 4);
  const { numbers, gaps } = await seen(page, 'short');
  say(gaps.length === 1 && numbers.join() === '1,1,2,3', 'client, forgotten topic', `${numbers} with ${gaps.length} gap`);
  await follow(page, 'closed', `${faulty}/closed/topics/a/b`);
  const ended = await wait(10, async () => (await seen(page, 'closed')).closed);
  say(ended && (await seen(page, 'closed')).errors === 1, 'client, refused: tells it once and ends');
  await page.close();
}

/** Messages for instants and segments of the programme, beside a player. */
async function inTime(browser, player) {
  const page = await open(browser, `${origin}/topics/demo?stream=/none`);
  const library = { hls: 'hls.js/dist/hls.min.js', dash: 'dashjs/dist/modern/umd/dash.all.min.js' }[player];
  await page.addScriptTag({ content: readFileSync(join(folder, 'node_modules', library), 'utf8') });
  const path = `/plain/topics/time/${player}`;
  await page.evaluate(async ([player, topic]) => {
    const { subscribe, playbackOf, inTime } = await import('/topics/headwater.js');
    const video = document.body.appendChild(document.createElement('video'));
    video.muted = true;
    const state = (window.state = { handed: [] });
    let play;
    if (player === 'hls') {
      const hls = new Hls({ lowLatencyMode: true });
      hls.loadSource('/c/master.m3u8');
      hls.attachMedia(video);
      play = playbackOf(video, { hls });
    } else {
      const dash = dashjs.MediaPlayer().create();
      dash.initialize(video, '/c/live.mpd', true);
      play = playbackOf(video, { dash });
    }
    video.play().catch(() => {});
    state.date = () => play.date();
    state.sequence = () => play.sequence();
    const timed = inTime(video, play, (message, { lateMs }) => state.handed.push({
      text: message.value.text, lateMs, date: play.date(), sequence: play.sequence() }));
    subscribe(topic, { from: 'earliest', onMessage: timed.add });
  }, [player, faulty + path]);
  await wait(30, () => page.evaluate(() => window.state.date() !== null && window.state.sequence() !== null));
  const { date, sequence } = await page.evaluate(() => ({ date: window.state.date(), sequence: window.state.sequence() }));
  const behind = (Date.now() - date) / 1000;
  const instants = [2500, 1500, 3300].map((ms) => date + ms);
  for (const at of instants) publish(path, String(at), { program_date_time: new Date(at).toISOString() });
  publish(path, 'segment', { media_sequence: sequence + 2 });
  publish(path, 'now');
  publish(path, 'past', { program_date_time: new Date(date - 5000).toISOString().replace('Z', '+0000') });
  await wait(20, () => page.evaluate(() => window.state.handed.length >= 6));
  const handed = await page.evaluate(() => window.state.handed);
  const of = (text) => handed.find((one) => one.text === String(text));
  const late = instants.map((at) => of(at)?.lateMs ?? NaN);
  const order = handed.map((one) => one.text).join();
  const wanted = ['now', 'past', instants[1], instants[0], instants[2]].join();
  const fine = Math.abs(behind) < 20 && order.replace(',segment', '') === wanted && late.every((ms) => ms >= 0 && ms < 1000)
    && of('segment')?.sequence === sequence + 2 && of('now').lateMs === null && of('past').lateMs >= 5000;
  say(fine && page.mistakes.length === 0, `in time beside ${player === 'hls' ? 'hls.js' : 'dash.js'}`,
    `${behind.toFixed(1)} s behind, handed over ${late.map((ms) => Math.round(ms)).join(', ')} ms after the picture`
    + `${fine ? '' : ` ${JSON.stringify({ sequence, wanted, handed })}`} ${page.mistakes.join('; ')}`);
  await page.close();
}

async function demo(browser, name, size) {
  const topic = `demo/${name}`;
  const url = `${origin}/topics/${topic}`;
  const send = (what, date) => fetch(`${url}${date ? `?program_date_time=${new Date(date).toISOString()}` : ''}`,
    { method: 'POST', body: JSON.stringify(what) });
  const page = await open(browser, `${origin}/topics/demo?stream=/c/master.m3u8&low=1&topic=${topic}`, size);
  const playing = await wait(30, () => page.evaluate(() => document.getElementById('video').currentTime > 1));
  const status = (await send({ open: { id: 'q', question: 'Who wins the next round?', options: ['Blue river', 'Green valley', 'Nobody'] } }, Date.now())).status;
  const opened = await wait(20, () => page.evaluate(() => document.querySelectorAll('.option').length === 3));
  for (const option of [0, 0, 0, 1, 2]) await send({ vote: { poll: 'q', option } });
  if (opened) await page.click('.option:nth-child(1)');
  for (const kind of ['star', 'flame', 'bolt', 'heart']) await page.click(`#reactions button[aria-label=${kind}]`);
  await send({ say: 'Goal for Blue river' }, Date.now());
  const counted = await wait(20, () => page.evaluate(() => document.getElementById('votes').textContent === '6 votes'));
  const handed = () => page.evaluate(() => window.handed);
  const came = await wait(20, async () => (await handed()).length >= 6);
  await page.screenshot({ path: join(folder, `topics-${name}.png`), fullPage: name === 'phone' });
  const late = (await handed()).map((one) => Math.round(one.lateMs));
  const wide = await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
  const said = await page.evaluate(() => document.getElementById('said').textContent);
  const fine = playing && status === 204 && opened && counted && came && wide && said === ''
    && late.every((ms) => ms >= 0 && ms < 3000) && page.mistakes.length === 0;
  say(fine, `demo page, ${name}`, `handed over ${late.join(', ')} ms after the picture`
    + `${fine ? '' : JSON.stringify({ playing, status, opened, counted, came, wide, said })} ${page.mistakes.join('; ')}`);
  await page.close();
}

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--autoplay-policy=no-user-gesture-required'],
});
await faults(browser);
await inTime(browser, 'hls');
await inTime(browser, 'dash');
await demo(browser, 'desk', { width: 1280, height: 800 });
await demo(browser, 'phone', { width: 390, height: 844 });
await browser.close();
server.closeAllConnections();
server.close();
process.exit(failed === 0 ? 0 : 1);
