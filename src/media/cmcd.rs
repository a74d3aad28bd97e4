//! Common Media Client Data: what players say of themselves with their requests (CTA-5004).
//!
//! A list of keys with or without a value, in the query parameter `CMCD` or in four headers. Read
//! here: encoded bitrate, buffer length and starvation, measured throughput, start-up, session, and
//! what is asked for next (`next`); every other key is passed over.
//!
//! **Invariants**: works on borrowed bytes and allocates nothing; a list that breaks the rules is
//! reported as such, and what stood before the fault counts.

pub mod next;

use xxhash_rust::xxh3::xxh3_64;

/// What one request said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `br`: encoded bitrate of what is asked for, in kbit/s.
    pub bitrate_kbps: Option<u32>,
    /// `bl`: length of the buffer, in milliseconds.
    pub buffer_ms: Option<u32>,
    /// `mtp`: measured throughput, in kbit/s.
    pub throughput_kbps: Option<u32>,
    /// `bs`: the buffer ran dry since the last request.
    pub is_starved: bool,
    /// `su`: the object is needed at once: start-up, seeking, or recovery.
    pub is_startup: bool,
    /// `sid`: a hash of the session.
    pub session: Option<u64>,
}

/// A list that breaks the rules of CTA-5004.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Report {
    /// Adds what a list says.
    ///
    /// # Errors
    /// When a key is empty, a quote is not closed, or a number is none.
    pub fn read(&mut self, list: &[u8]) -> Result<(), Malformed> {
        entries(list).try_for_each(|entry| self.entry(entry?))
    }

    fn entry(&mut self, (key, value): Entry<'_>) -> Result<(), Malformed> {
        match key {
            b"br" => self.bitrate_kbps = Some(number(value)?),
            b"bl" => self.buffer_ms = Some(number(value)?),
            b"mtp" => self.throughput_kbps = Some(number(value)?),
            //= CTA-5004 section 3.3: a Boolean that is true is sent without a value
            b"bs" => self.is_starved = value.is_none_or(|value| value == b"true"),
            b"su" => self.is_startup = value.is_none_or(|value| value == b"true"),
            b"sid" => {
                let text = value.and_then(|value| value.strip_prefix(b"\"")?.strip_suffix(b"\""));
                self.session = Some(xxh3_64(text.ok_or(Malformed)?));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A key and its value.
type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

/// What a list says, up to its first fault.
fn entries(list: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, Malformed>> {
    let mut rest = list;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let split = split_first(rest);
        rest = split.map_or(&[][..], |(_, tail)| tail);
        Some(split.map(|(entry, _)| entry))
    })
}

/// The first entry, and what stands behind its comma.
fn split_first(list: &[u8]) -> Result<(Entry<'_>, &[u8]), Malformed> {
    let (entry, tail) = list.split_at(entry_end(list)?);
    let entry = entry.trim_ascii();
    let (key, value) = match entry.iter().position(|&byte| byte == b'=') {
        Some(at) => (&entry[..at], Some(&entry[at + 1..])),
        None => (entry, None),
    };
    if key.is_empty() {
        Err(Malformed)
    } else {
        Ok(((key, value), tail.get(1..).unwrap_or_default()))
    }
}

/// Where the first entry ends: at a comma that is not within quotes.
fn entry_end(list: &[u8]) -> Result<usize, Malformed> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in list.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => return Ok(at),
            _ => {}
        }
    }
    if is_quoted { Err(Malformed) } else { Ok(list.len()) }
}

/// A whole number; what is larger than the type can say stays at its end.
fn number(value: Option<&[u8]>) -> Result<u32, Malformed> {
    let digits = value.filter(|value| !value.is_empty()).ok_or(Malformed)?;
    digits.iter().try_fold(0_u32, |number, digit| match digit {
        b'0'..=b'9' => Ok(number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))),
        _ => Err(Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &[u8]) -> (Report, bool) {
        let mut report = Report::default();
        let fine = report.read(list).is_ok();
        (report, fine)
    }

    #[test]
    fn keys_are_read_and_others_passed_over() {
        let list = b"bl=21300,br=3200,bs,cid=\"a,b\\\",c\",d=4004,mtp=25400,nor=\"..%2F3.m4v\",\
            ot=v,sf=h,sid=\"6e2fb550-c457-11e9-bb97-0800200c9a66\",st=v,su,tb=6000,com.x-y=1";
        let (report, fine) = read(list);
        assert!(fine);
        assert_eq!((report.bitrate_kbps, report.buffer_ms), (Some(3200), Some(21300)));
        assert_eq!(report.throughput_kbps, Some(25400));
        assert!(report.is_starved && report.is_startup);
        assert_eq!(report.session, Some(xxh3_64(b"6e2fb550-c457-11e9-bb97-0800200c9a66")));
        assert_eq!(read(b""), (Report::default(), true));
        assert!(!read(b"bs=false").0.is_starved);
        assert_eq!(read(b"br=99999999999").0.bitrate_kbps, Some(u32::MAX));
    }

    #[test]
    fn what_breaks_the_rules_is_said_and_what_stood_before_counts() {
        for list in [&b"br=1,bl="[..], b"br=1,bl=x", b"br=1,,bs", b"br=1,=3", b"br=1,sid=\"open"] {
            let (report, fine) = read(list);
            assert!(!fine, "{}", String::from_utf8_lossy(list));
            assert_eq!(report.bitrate_kbps, Some(1));
        }
        assert!(!read(b"sid=bare").1 && !read(b"br").1);
    }
}
