//! A scripted server of topics over Server-Sent Events, on threads of its own, that loses, repeats,
//! swaps, skips or exchanges messages on request. Shares no code with the load generator.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to every n-th message on the way to the first subscriber; 0 for nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lies {
    /// It is not sent.
    pub lose: u64,
    /// It is sent twice.
    pub repeat: u64,
    /// It comes behind the next one.
    pub swap: u64,
    /// A discontinuity stands for it.
    pub skip: u64,
    /// Publications take so long, all of them.
    pub pause_ms: u64,
    /// It has the text of the one before.
    pub differ: u64,
}

#[derive(Default)]
struct State {
    subscribers: Vec<TcpStream>,
    number: u64,
    before: String,
    held: Option<String>,
}

/// A running server; it ends with the process.
pub struct Liar {
    port: u16,
}

impl Liar {
    pub fn start(lies: Lies) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || serve(stream, lies, &state));
            }
        });
        Self { port }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

fn serve(stream: TcpStream, lies: Lies, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        std::thread::sleep(Duration::from_millis(lies.pause_ms));
        let mut state = state.lock().unwrap();
        if first.starts_with("GET") {
            let next = format!("id: 9:{}\n\n", state.number);
            write!(writer, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n{next}")?;
            state.subscribers.push(writer.try_clone()?);
        } else {
            state.publish(&String::from_utf8(body).unwrap(), lies);
            let place = format!("Topic-Position: 9:{}", state.number);
            write!(writer, "HTTP/1.1 204 No Content\r\n{place}\r\n\r\n")?;
        }
    }
}

impl State {
    fn publish(&mut self, text: &str, lies: Lies) {
        self.number += 1;
        let number = self.number;
        let every = |lie: u64| lie > 0 && number.is_multiple_of(lie);
        let truth = event(number, text);
        let to_first = match () {
            () if every(lies.lose) => String::new(),
            () if every(lies.repeat) => truth.repeat(2),
            () if every(lies.swap) => {
                self.held = Some(truth.clone());
                String::new()
            }
            () if every(lies.skip) => format!(
                "event: discontinuity\nid: 9:{number}\ndata: {{\"last_topic_sequence\":{},\
                 \"new_topic_sequence\":{},\"new_sequence_page\":9}}\n\n",
                number - 1,
                number + 1
            ),
            () if every(lies.differ) => event(number, &self.before),
            () => truth.clone() + &self.held.take().unwrap_or_default(),
        };
        text.clone_into(&mut self.before);
        for (index, subscriber) in self.subscribers.iter_mut().enumerate() {
            let bytes = if index == 0 { &to_first } else { &truth };
            // One that has left is no matter.
            let _ = subscriber.write_all(bytes.as_bytes());
        }
    }
}

fn event(number: u64, text: &str) -> String {
    format!(
        "id: 9:{number}\ndata: {{\"topic_sequence_number\":{number},\"sequence_page\":9,\
         \"value\":{{\"text\":\"{text}\"}}}}\n\n"
    )
}
