// Opens reports of the load generator in headless Chromium: no console error, plots that are seen.
// Usage: node report.mjs FOLDER REPORT.html...   (leaves a screenshot beside each report)
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [folder, ...reports] = process.argv.slice(2);
const { chromium } = createRequire(join(folder, 'package.json'))('playwright-core');
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
let fine = true;
for (const report of reports) {
  const tab = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  const said = [];
  tab.on('pageerror', (error) => said.push(error.message));
  tab.on('console', (line) => ['error', 'warning'].includes(line.type()) && said.push(line.text()));
  tab.on('request', (request) => /^https?:/.test(request.url()) && said.push(`asks for ${request.url()}`));
  await tab.goto(`file://${report}`);
  const plots = await tab.evaluate(() => [...document.querySelectorAll('svg')].filter((svg) => {
    const { width, height } = svg.getBoundingClientRect();
    return width > 200 && height > 100 && svg.querySelector('path, polyline, line');
  }).length);
  await tab.screenshot({ path: report.replace(/\.html$/, '.png'), fullPage: true });
  const ok = plots > 0 && said.length === 0;
  fine &&= ok;
  console.log(`${ok ? 'OK    ' : 'FAILED'} ${report}: ${plots} plots ${said.join('; ')}`);
}
await browser.close();
process.exit(fine ? 0 : 1);
