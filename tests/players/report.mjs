// Opens reports of the load generator in headless Chromium: the plots that each page must have are
// there and drawn, no console error, nothing asked of elsewhere.
// Usage: node report.mjs FOLDER REPORT.html...   (leaves a screenshot beside each report)
// The name of a report says what it must show.
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';

const LOAD = ['Latency by percentile', 'Latency over time', 'Throughput'];
const EXPECTED = {
  rate: LOAD,
  live: ['Start-up time', 'Rebuffer ratio', 'Bitrate', 'Switches', 'Live latency', 'Publish to view',
    'Publish to last viewer', 'Viewers', ...LOAD],
  // A try lasts a second: nothing over time.
  capacity: ['Latency p99 against load', 'CPU against load', 'Bit/s against load', 'Latency by percentile'],
  compare: ['Ratio of latencies with intervals', 'Latency by percentile'],
};

const [folder, ...reports] = process.argv.slice(2);
const { chromium } = createRequire(join(folder, 'package.json'))('playwright-core');
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});

// In the page: the heading of each figure whose drawing takes up room and is not all of one place.
function drawn() {
  const seen = (svg) => {
    const { width, height } = svg.getBoundingClientRect();
    const marks = [...svg.querySelectorAll('path, circle.dot')].map((mark) => mark.getBoundingClientRect());
    const spread = Math.max(...marks.map((m) => m.right)) - Math.min(...marks.map((m) => m.left));
    return width > 200 && height > 100 && spread > 50;
  };
  return [...document.querySelectorAll('figure')].filter((figure) => {
    const svg = figure.querySelector('svg');
    return svg && seen(svg);
  }).map((figure) => figure.querySelector('h3').textContent);
}

let fine = true;
for (const report of reports) {
  const tab = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  const said = [];
  tab.on('pageerror', (error) => said.push(error.message));
  tab.on('console', (line) => ['error', 'warning'].includes(line.type()) && said.push(line.text()));
  tab.on('request', (request) => /^https?:/.test(request.url()) && said.push(`asks for ${request.url()}`));
  await tab.goto(`file://${report}`);
  const plots = await tab.evaluate(drawn);
  const wide = await tab.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  if (wide) said.push('wider than its window');
  const cut = await tab.evaluate(() => [...document.querySelectorAll('.table')]
    .filter((table) => table.scrollWidth > table.clientWidth).length);
  if (cut > 0) said.push(`${cut} tables are cut at the right`);
  const expected = EXPECTED[basename(report, '.html')] ?? LOAD;
  const missing = expected.filter((name) => !plots.some((title) => title.startsWith(name)));
  if (missing.length > 0) said.push(`missing: ${missing.join(', ')}`);
  await tab.screenshot({ path: report.replace(/\.html$/, '.png'), fullPage: true });
  fine &&= said.length === 0;
  console.log(`${said.length === 0 ? 'OK    ' : 'FAILED'} ${report}: ${plots.length} plots ${said.join('; ')}`);
}
await browser.close();
process.exit(fine ? 0 : 1);
