// Clients of others on one topic, unmodified: npm ws, and the EventSource of Chromium.
// Usage: node clients.mjs ORIGIN FOLDER    (FOLDER: node_modules with ws and playwright-core)
import { createRequire } from 'node:module';
import { join } from 'node:path';
import assert from 'node:assert';

const [origin, folder] = process.argv.slice(2);
const require = createRequire(join(folder, 'package.json'));
const { WebSocket } = require('ws');
const { chromium } = require('playwright-core');
const COUNT = 20;
const texts = Array.from({ length: COUNT }, (_, number) => `text ${number}`);
setTimeout(() => { throw new Error('a client waits for ever'); }, 60_000).unref();

async function publish(topic) {
  for (const body of texts) {
    const answer = await fetch(`${origin}/topics/clients/${topic}`, { method: 'POST', body });
    assert.equal(answer.status, 204);
  }
}

const socket = new WebSocket(`${origin.replace('http', 'ws')}/topics/clients/npm`);
const heard = await new Promise((done, fail) => {
  const items = [];
  socket.on('error', fail);
  socket.on('message', (data) => {
    const said = JSON.parse(data);
    if (said.subscribed) publish('npm').catch(fail);
    if (said.item && items.push(said.item.value.text) === COUNT) done(items);
  });
});
assert.deepEqual(heard, texts);
await new Promise((done) => { socket.on('pong', done); socket.ping('here'); });
const code = await new Promise((done) => { socket.on('close', done); socket.close(4000); });
assert.equal(code, 4000);
console.log('OK     npm ws: every message in order, a ping, a close');

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
const page = await browser.newPage();
await page.goto(`${origin}/topics/demo`);
await page.evaluate(() => new Promise((done) => {
  window.heard = [];
  const source = new EventSource('/topics/clients/browser');
  source.onmessage = (event) => window.heard.push(JSON.parse(event.data).value.text);
  source.onopen = done;
}));
await publish('browser');
await page.waitForFunction((count) => window.heard.length >= count, COUNT);
assert.deepEqual(await page.evaluate(() => window.heard), texts);
await browser.close();
console.log("OK     Chromium's EventSource: every message in order");
