// What is played: the player, the address, whether for low latency, and how far behind the clock it
// may be, in seconds.
export const PLAYS = [
  { name: 'hls.js HLS', player: 'hls', path: '/c/master.m3u8', low: false, behind: 15 },
  { name: 'hls.js LL-HLS', player: 'hls', path: '/c/master.m3u8', low: true, behind: 3 },
  { name: 'dash.js LL-DASH', player: 'dash', path: '/c/live.mpd', low: true, behind: 3 },
  { name: 'shaka HLS', player: 'shaka', path: '/c/master.m3u8', low: false, behind: 15 },
  { name: 'shaka LL-HLS', player: 'shaka', path: '/c/master.m3u8', low: true, behind: 3 },
  { name: 'shaka LL-DASH', player: 'shaka', path: '/c/live.mpd', low: true, behind: 3 },
];
