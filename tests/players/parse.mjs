// Reads every kept version of made playlists with the strict parser of `hls-parser`, and shows first
// that it refuses planted faults.
// Usage: node parse.mjs FOLDER KEPT    (FOLDER: node_modules; KEPT: one file a version)
import { createRequire } from 'node:module';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const [folder, kept] = process.argv.slice(2);
const parser = createRequire(join(folder, 'package.json'))('hls-parser');
parser.setOptions({ strictMode: true });

// The parser counts three segments, and the arriving one among them, where the draft (6.2.2) has
// parts for three target durations; the own checker measures that. So the parts of the oldest segments
// that have some, at most two, are taken out before its verdict is asked again.
const COUNTED = /^Invalid Playlist : Remove EXT-X-PART tags/;
const OLDEST_PARTS = /(#EXT-X-PART:.*\n)+(?=#EXTINF)/;

function fault(text) {
  let found = verdict(text);
  for (let taken = 0; taken < 2 && COUNTED.test(found ?? ''); taken += 1) {
    text = text.replace(OLDEST_PARTS, '');
    found = verdict(text);
  }
  return found;
}

function verdict(text) {
  try {
    const playlist = parser.parse(text);
    if (playlist.isMasterPlaylist || playlist.segments.length === 0) return 'no segments were read';
    return null;
  } catch (error) {
    return error.message;
  }
}

const names = readdirSync(kept).sort();
const whole = names.filter((name) => !name.endsWith('-delta'));
const sample = readFileSync(join(kept, whole[Math.floor(whole.length / 2)]), 'utf8');
const planted = [
  ['a part without its target', sample.replace(/#EXT-X-PART-INF.*\n/, '')],
  ['no target duration', sample.replace(/#EXT-X-TARGETDURATION.*\n/, '')],
  ['a segment longer than its target', sample.replace(/#EXTINF:[\d.]+/, '#EXTINF:99')],
];
let missed = 0;
for (const [what, text] of planted) {
  if (text === sample || fault(text) === null) {
    console.log(`FAILED the parser does not see ${what}`);
    missed += 1;
  }
}
let faults = 0;
for (const name of names) {
  const text = readFileSync(join(kept, name), 'utf8');
  const found = fault(text);
  if (found === null) continue;
  faults += 1;
  if (faults <= 3) console.log(`FAILED ${name}: ${found}\n${text}`);
}
console.log(`hls-parser: ${names.length} versions, ${faults} with faults`);
process.exit(faults === 0 && missed === 0 && names.length > 0 ? 0 : 1);
