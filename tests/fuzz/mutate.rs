//! Bytes that are nearly right: seeds, cut, joined and changed, with words that matter mixed in.

/// A seeded source of numbers.
pub struct Random(u64);

impl Random {
    /// From `HEADWATER_FUZZ_SEED`, or else the clock; prints the seed, which repeats the run.
    pub fn announced(name: &str) -> Self {
        let seed: u64 = match std::env::var("HEADWATER_FUZZ_SEED") {
            Ok(seed) => seed.parse().expect("HEADWATER_FUZZ_SEED is a number"),
            Err(_) => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.unwrap().subsec_nanos().into()
            }
        };
        println!("{name}: HEADWATER_FUZZ_SEED={seed}");
        Self(seed | 1 << 40)
    }

    /// Another source, for another thread.
    pub fn fork(of: &mut Self) -> Self {
        Self(of.next() | 1 << 40)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap() % end
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }
}

/// Words that parsers look for.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\0",
    b":",
    b",",
    b";",
    b"\"",
    b"/",
    b"//",
    b"..",
    b"%2f",
    b"%00",
    b"%",
    b"?",
    b"#",
    b"*",
    b"-",
    b"=",
    b"0",
    b"1",
    b"ffffffffffffffff",
    b"9223372036854775807",
    b"18446744073709551616",
    b"GET ",
    b"PUT ",
    b"HEAD ",
    b"DELETE ",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"Range: bytes=0-1,5-\r\n",
    b"If-Range: \"v1\"\r\n",
    b"bytes=",
    b"If-None-Match: *\r\n",
    b"W/\"v1\"",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b";x=y",
    b"http://a",
    b"#EXTM3U\n",
    b"#EXT-X-TARGETDURATION:",
    b"#EXT-X-ENDLIST\n",
    b"#EXTINF:4.0,\n",
    b"<MPD ",
    b"type=\"dynamic\"",
    b"minimumUpdatePeriod=\"PT2S\"",
    b"<!--",
    b"-->",
    b"?Path=/a&MaxResults=1&NextToken=b",
    b"?ttl_seconds=1",
    b"\xff",
    b"\xc3\xa9",
];

/// Changes `data` a few times.
pub fn mutate(random: &mut Random, data: &mut Vec<u8>, seeds: &[Vec<u8>], bytes_max: usize) {
    for _ in 0..=random.below(5) {
        let at = random.below(data.len() + 1);
        match random.below(8) {
            0 if at < data.len() => data[at] = random.byte(),
            1 if at < data.len() => data[at] ^= 1 << random.below(8),
            2 => {
                let end = data.len().min(at + 1 + random.below(16));
                data.drain(at..end);
            }
            3 => insert(data, at, random.pick(WORDS)),
            4 => {
                let word = random.pick(WORDS);
                let end = data.len().min(at + word.len());
                data.splice(at..end, word.iter().copied());
            }
            5 => {
                let end = data.len().min(at + 1 + random.below(32));
                let part = data[at..end].to_vec();
                insert(data, at, &part.repeat(1 + random.below(4)));
            }
            6 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                insert(data, at, &other[from..]);
            }
            _ => data.truncate(at),
        }
    }
    data.truncate(bytes_max);
}

fn insert(data: &mut Vec<u8>, at: usize, part: &[u8]) {
    data.splice(at..at, part.iter().copied());
}
