//! A receiver of webhooks that answers as a script says, and notes what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::support::PATIENCE;

/// What the receiver does with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Answers with this status.
    Answer(u16),
    /// Says nothing until the sender goes away.
    Hang,
    /// Closes without an answer.
    Close,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub at: Instant,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Delivery {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        &found.unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).1
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn text(&self) -> String {
        self.json()["item"]["value"]["text"].as_str().unwrap().to_owned()
    }

    /// Whether the signature at this place is that of `secret`.
    pub fn is_signed_with(&self, secret: &[u8], place: usize) -> bool {
        let (id, time) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(format!("{id}.{time}.{}", self.body).as_bytes());
        let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
        self.header("webhook-signature").split(' ').nth(place) == Some(&expected)
    }
}

#[derive(Default)]
struct State {
    script: Vec<Act>,
    deliveries: Vec<Delivery>,
}

/// A running receiver; it ends with the process.
pub struct Receiver {
    port: u16,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Receiver {
    /// Does with each request what `script` says, the last of it for ever.
    pub fn start(script: &[Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        shared.0.lock().unwrap().script = script.to_vec();
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&own);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { port, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// From now on does with each request what `act` says.
    pub fn change(&self, act: Act) {
        self.shared.0.lock().unwrap().script = vec![act];
    }

    /// Waits until so many requests came; all of them.
    #[track_caller]
    pub fn wait(&self, count: usize) -> Vec<Delivery> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.0.lock().unwrap();
        while state.deliveries.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {count} requests came", state.deliveries.len());
            state = self.shared.1.wait_timeout(state, left).unwrap().0;
        }
        state.deliveries.clone()
    }
}

fn serve(stream: TcpStream, shared: &(Mutex<State>, Condvar)) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.unwrap().1.parse().unwrap()];
    reader.read_exact(&mut body)?;
    let act = {
        let mut state = shared.0.lock().unwrap();
        let path = first.split(' ').nth(1).unwrap().to_owned();
        let body = String::from_utf8(body).unwrap();
        state.deliveries.push(Delivery { at: Instant::now(), path, headers, body });
        shared.1.notify_all();
        if state.script.len() > 1 { state.script.remove(0) } else { state.script[0] }
    };
    match act {
        Act::Answer(status) => {
            write!(writer, "HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\nok")
        }
        Act::Hang => {
            writer.set_read_timeout(Some(Duration::from_secs(60)))?;
            reader.read_exact(&mut [0])
        }
        Act::Close => Ok(()),
    }
}
