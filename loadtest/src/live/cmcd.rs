//! CMCD version 1 (CTA-5004): what a player tells the origin with each request.

use std::fmt::Write;

use crate::player::viewer::{Fetch, Kind};

/// How CMCD is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Cmcd {
    /// Not at all.
    #[default]
    None,
    /// As the query parameter `CMCD`.
    Query,
    /// As the four headers.
    Headers,
}

/// What a viewer knows when it asks.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The session: ties a viewer to the server's log.
    pub session: u64,
    /// The stream is DASH; HLS otherwise.
    pub dash: bool,
    /// Buffer in seconds.
    pub buffer: f64,
    /// Estimated rate in bit/s.
    pub rate: f64,
    /// Peak rates of this level and of the highest, in bit/s.
    pub rates: (u64, u64),
    /// Playback has begun.
    pub started: bool,
    /// The buffer ran dry since the last request.
    pub starved: bool,
    /// The request.
    pub fetch: &'a Fetch,
}

impl Facts<'_> {
    /// The query parameter, keys in alphabetical order, percent-coded.
    pub fn query(&self) -> String {
        let keys = [self.request(), self.object(), self.status(), self.session()].concat();
        let mut keys: Vec<String> = keys;
        keys.sort();
        let mut coded = String::from("CMCD=");
        for byte in keys.join(",").bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    coded.push(char::from(byte));
                }
                _ => {
                    // Writing into a string does not fail.
                    let _ = write!(coded, "%{byte:02X}");
                }
            }
        }
        coded
    }

    /// The header lines.
    pub fn headers(&self) -> String {
        let mut lines = String::new();
        for (name, keys) in [
            ("Object", self.object()),
            ("Request", self.request()),
            ("Session", self.session()),
            ("Status", self.status()),
        ] {
            if !keys.is_empty() {
                // Writing into a string does not fail.
                let _ = write!(lines, "CMCD-{name}: {}\r\n", keys.join(","));
            }
        }
        lines
    }

    fn is_media(&self) -> bool {
        matches!(self.fetch.kind, Kind::Segment | Kind::Part)
    }

    fn object(&self) -> Vec<String> {
        let kind = match self.fetch.kind {
            Kind::Master | Kind::Playlist | Kind::Blocking => "m",
            Kind::Init => "i",
            Kind::Segment | Kind::Part if self.fetch.slot.track > 0 => "a",
            Kind::Segment | Kind::Part => "v",
        };
        let mut keys = vec![format!("ot={kind}")];
        if self.is_media() {
            keys.insert(0, format!("br={}", self.rates.0 / 1000));
            keys.insert(1, format!("d={:.0}", self.fetch.duration * 1000.0));
            keys.push(format!("tb={}", self.rates.1 / 1000));
        }
        keys
    }

    fn request(&self) -> Vec<String> {
        let mut keys = Vec::new();
        if self.is_media() {
            // To the nearest 100 ms and 100 kbit/s, as the specification has it.
            keys.push(format!("bl={:.0}", (self.buffer * 10.0).round() * 100.0));
            keys.push(format!("mtp={:.0}", (self.rate / 100_000.0).round() * 100.0));
            if !self.started || self.starved {
                keys.push("su".to_owned());
            }
        }
        keys
    }

    fn status(&self) -> Vec<String> {
        if self.starved { vec!["bs".to_owned()] } else { Vec::new() }
    }

    fn session(&self) -> Vec<String> {
        let format = if self.dash { "sf=d" } else { "sf=h" };
        vec![format.to_owned(), format!("sid=\"{:016x}\"", self.session), "st=l".to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::player::retry;
    use crate::player::viewer::Slot;

    #[test]
    fn keys_are_in_order_and_coded() {
        let fetch = Fetch {
            slot: Slot { track: 0, playlist: false },
            kind: Kind::Segment,
            uri: "/a".to_owned(),
            bytes: None,
            policy: retry::FRAGMENT,
            level: 1,
            duration: 4.0,
            edge: false,
        };
        let facts = Facts {
            session: 255,
            dash: false,
            buffer: 8.04,
            rate: 12_345_678.0,
            rates: (3_000_000, 6_000_000),
            started: true,
            starved: true,
            fetch: &fetch,
        };
        assert_eq!(
            facts.query(),
            "CMCD=bl%3D8000%2Cbr%3D3000%2Cbs%2Cd%3D4000%2Cmtp%3D12300%2Cot%3Dv%2Csf%3Dh%2C\
             sid%3D%2200000000000000ff%22%2Cst%3Dl%2Csu%2Ctb%3D6000"
        );
        assert_eq!(
            facts.headers(),
            "CMCD-Object: br=3000,d=4000,ot=v,tb=6000\r\nCMCD-Request: bl=8000,mtp=12300,su\r\n\
             CMCD-Session: sf=h,sid=\"00000000000000ff\",st=l\r\nCMCD-Status: bs\r\n"
        );
        let list = Fetch { kind: Kind::Playlist, ..fetch.clone() };
        let facts = Facts { fetch: &list, starved: false, dash: true, ..facts };
        assert_eq!(facts.query(), "CMCD=ot%3Dm%2Csf%3Dd%2Csid%3D%2200000000000000ff%22%2Cst%3Dl");
    }
}
