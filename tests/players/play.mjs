// Plays one live channel in headless Chromium with hls.js, dash.js and shaka-player, one after the
// other, and says how far behind the clock each plays and whether it stalled.
// Usage: node play.mjs ORIGIN SECONDS FOLDER    (FOLDER: node_modules with the players; screenshots)
// From 30 seconds on it is strict: no stall, and no later than is promised. Shorter runs are for
// machines that are busy with other things: they fail on errors, without playback, or far behind.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PLAYS } from './plays.mjs';

const [origin, seconds, folder] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const strict = seconds >= 30;
const require = createRequire(join(folder, 'package.json'));
const { chromium } = require('playwright-core');

const LIBRARIES = {
  hls: 'hls.js/dist/hls.min.js',
  dash: 'dashjs/dist/modern/umd/dash.all.min.js',
  shaka: 'shaka-player/dist/shaka-player.compiled.js',
};
const page = (player) => `<!doctype html><meta charset="utf-8"><title>player</title>
<video id="v" muted autoplay width="640" height="360"></video><pre id="said"></pre>
<script src="/${player}"></script>`;

const server = createServer((request, response) => {
  const name = request.url.slice(1);
  const library = LIBRARIES[name];
  const body = library ? readFileSync(join(folder, 'node_modules', library))
    : page(new URLSearchParams(request.url.split('?')[1]).get('player'));
  response.setHeader('Content-Type', library ? 'text/javascript' : 'text/html');
  response.end(body);
}).listen(0, '127.0.0.1');

// Runs in the page: starts a player; window.state tells how it goes.
function start({ player, url, low }) {
  const video = document.getElementById('v');
  const state = (window.state = { errors: [], stalls: 0, date: () => NaN });
  let playing = false;
  video.addEventListener('playing', () => { playing = true; });
  video.addEventListener('waiting', () => { if (playing && video.currentTime > 0) state.stalls += 1; });
  const fail = (what) => state.errors.push(String(what));
  if (player === 'hls') {
    const hls = new Hls({ lowLatencyMode: low, maxLiveSyncPlaybackRate: low ? 1.5 : 1 });
    hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal || data.details !== 'bufferStalledError') fail(`${data.details} ${data.error?.message ?? ''}`); });
    state.date = () => hls.playingDate && hls.playingDate.getTime();
    state.low = () => hls.latestLevelDetails && Boolean(hls.latestLevelDetails.partTarget);
    hls.loadSource(url);
    hls.attachMedia(video);
  } else if (player === 'dash') {
    const dash = dashjs.MediaPlayer().create();
    dash.updateSettings({ streaming: { delay: { liveDelay: 2 }, liveCatchup: { enabled: true } } });
    dash.on('error', (event) => fail(event.error && event.error.message));
    dash.initialize(video, url, true);
    state.date = () => Date.now() - dash.getCurrentLiveLatency() * 1000;
  } else {
    const shakaPlayer = new shaka.Player();
    shakaPlayer.addEventListener('error', (event) => fail('shaka ' + event.detail.code));
    // Shaka counts from the end of what it lets one seek to: for HLS PART-HOLD-BACK behind the newest part.
    const [targetLatency, targetLatencyTolerance] = url.endsWith('.mpd') ? [2, 0.3] : [0.5, 0.2];
    const liveSync = { enabled: low, targetLatency, targetLatencyTolerance };
    shakaPlayer.configure({ streaming: { lowLatencyMode: low, liveSync } });
    state.date = () => { const date = shakaPlayer.getPlayheadTimeAsDate(); return date && date.getTime(); };
    shakaPlayer.attach(video).then(() => shakaPlayer.load(url)).catch((e) => fail('shaka ' + e.code));
  }
  video.play().catch(() => {});
}

async function play(browser, one) {
  const tab = await browser.newPage();
  const said = [];
  tab.on('pageerror', (error) => said.push(error.message));
  await tab.goto(`http://127.0.0.1:${server.address().port}/?player=${one.player}`);
  await tab.evaluate(start, { player: one.player, url: origin + one.path, low: one.low });
  const look = () => tab.evaluate(() => {
    const video = document.getElementById('v');
    const { errors, stalls } = window.state;
    return { at: video.currentTime, behind: (Date.now() - window.state.date()) / 1000, errors, stalls };
  });
  // The start: until it plays and knows where, and some seconds for its catching up.
  const begun = Date.now();
  while (Date.now() - begun < 20000) {
    const { at, behind } = await look();
    if (at > 0.5 && Number.isFinite(behind)) break;
    await tab.waitForTimeout(200);
  }
  await tab.waitForTimeout(strict ? 10000 : 4000);
  const first = await look();
  const behinds = [];
  for (let second = 0; second < seconds; second += 1) {
    await tab.waitForTimeout(1000);
    behinds.push((await look()).behind);
  }
  const last = await look();
  await tab.screenshot({ path: join(folder, `${one.name.replaceAll(/[ .]/g, '-')}.png`) });
  await tab.close();
  const sorted = behinds.toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  const played = last.at - first.at;
  const stalls = last.stalls - first.stalls;
  const errors = [...last.errors, ...said];
  const fine = errors.length === 0 && (strict
    ? played > seconds * 0.9 && median < one.behind && stalls === 0
    : played > seconds * 0.3 && median < one.behind * 4);
  const behind = `behind ${median.toFixed(2)} s (most ${sorted.at(-1).toFixed(2)} s)`;
  const figures = `played ${played.toFixed(1)} s, ${behind}, stalls ${stalls}`;
  console.log(`${fine ? 'OK    ' : 'FAILED'} ${one.name}: ${figures} ${errors.join('; ')}`);
  return fine;
}

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--autoplay-policy=no-user-gesture-required'],
});
let fine = true;
for (const one of PLAYS) {
  let played = await play(browser, one);
  if (!played && !strict) played = await play(browser, one);
  fine = played && fine;
}
await browser.close();
server.close();
process.exit(fine ? 0 : 1);
