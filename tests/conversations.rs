//! Conversations by the table: each file of `tests/conversations/` against one shard and four.
//!
//! The files are data, explained in `tests/conversations/README.md`. Every conversation runs
//! several times, so that with more than one shard it meets its keys' owner and foreign shards.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use support::Origin;
use support::wire::{Answer, Client};

/// How often each conversation runs per configuration.
const ROUNDS: usize = 4;

macro_rules! tables {
    ($($name:ident),* $(,)?) => {
        mod one_shard {
            $( #[test] fn $name() {
                super::hold(&["--shards", "1"], stringify!($name),
                    include_str!(concat!("conversations/", stringify!($name), ".txt")));
            } )*
        }
        mod four_shards {
            $( #[test] fn $name() {
                super::hold(&["--shards", "4"], stringify!($name),
                    include_str!(concat!("conversations/", stringify!($name), ".txt")));
            } )*
        }
    };
}

tables!(basics, body, cache, conditions, connection, keys, limits, listing, ranges, refusals, web);

/// Holds every conversation of a table against one origin.
fn hold(flags: &[&str], name: &str, table: &str) {
    let origin = Origin::start(flags);
    let mut said = String::new();
    let conversations: Vec<Vec<(usize, &str)>> = split(table);
    for (index, lines) in conversations.iter().enumerate() {
        for round in 0..ROUNDS {
            let folder = format!("{name}-{index}-{round}");
            let mut talk = Talk::new(&origin, folder);
            for &(number, line) in lines {
                if let Err(reason) = talk.line(line) {
                    let title = lines[0].1;
                    let place = format!("conversations/{name}.txt:{number}");
                    writeln!(said, "{place}: {title}, round {round}: {reason}").unwrap();
                    break;
                }
            }
            if !said.is_empty() {
                break;
            }
        }
    }
    assert!(said.is_empty(), "\n{said}");
    origin.stop();
}

/// The lines of each conversation with their numbers, titles first.
fn split(table: &str) -> Vec<Vec<(usize, &str)>> {
    let mut conversations: Vec<Vec<(usize, &str)>> = Vec::new();
    for (index, line) in table.lines().enumerate() {
        if line.starts_with("= ") {
            conversations.push(vec![(index + 1, line)]);
        } else if !line.is_empty() && !line.starts_with('#') {
            conversations.last_mut().expect("a table begins with a title").push((index + 1, line));
        }
    }
    conversations
}

/// One run of one conversation.
struct Talk<'a> {
    origin: &'a Origin,
    client: Client,
    folder: String,
    answer: Option<Answer>,
    kept: HashMap<String, String>,
}

type Outcome = Result<(), String>;

impl<'a> Talk<'a> {
    fn new(origin: &'a Origin, folder: String) -> Self {
        let client = origin.client();
        Self { origin, client, folder, answer: None, kept: HashMap::new() }
    }

    fn line(&mut self, line: &str) -> Outcome {
        let (sign, rest) = line.split_once(' ').unwrap_or((line, ""));
        match sign {
            "=" => Ok(()),
            ">" => self.send(&[self.filled(rest)?, b"\r\n".to_vec()].concat()),
            ">>" => self.send(&self.filled(rest)?),
            ">!" => self.act(rest),
            "<" => self.read(rest),
            "<:" => self.has_header(rest),
            "<-" => self.lacks_header(rest),
            "<=" => {
                let wanted = self.filled(rest)?;
                let body = &self.answer()?.body;
                same(&String::from_utf8_lossy(body), &String::from_utf8_lossy(&wanted), "the body")
            }
            "<~" => {
                let wanted = String::from_utf8(self.filled(rest)?).unwrap();
                let body = self.answer()?.text().into_owned();
                if body.contains(&wanted) { Ok(()) } else { Err(format!("the body is `{body}`")) }
            }
            "<$" => self.keep(rest),
            "<x" if self.client.is_closed() => Ok(()),
            "<x" => Err("the connection is not closed".to_owned()),
            "<_" => {
                let during = Duration::from_millis(rest.parse().unwrap());
                let is_silent = self.client.is_silent(during);
                if is_silent { Ok(()) } else { Err("the origin is not silent".to_owned()) }
            }
            _ => panic!("no such line: {line}"),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Outcome {
        self.client.send(bytes).map_err(|error| format!("sending: {error}"))
    }

    fn act(&mut self, words: &str) -> Outcome {
        let words = String::from_utf8(self.filled(words)?).unwrap();
        match words.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["put", key, text] => {
                let answer = self.origin.request("PUT", &format!("/{key}"), &[], text.as_bytes());
                same(&answer.status.to_string(), "200", "the status")
            }
            ["wait", ms] => {
                std::thread::sleep(Duration::from_millis(ms.parse().unwrap()));
                Ok(())
            }
            ["connect"] => {
                self.client = self.origin.client();
                Ok(())
            }
            ["half-close"] => {
                self.client.stream().shutdown(std::net::Shutdown::Write).unwrap();
                Ok(())
            }
            _ => panic!("no such act: {words}"),
        }
    }

    fn read(&mut self, wanted: &str) -> Outcome {
        let (status, is_head) = match wanted.strip_suffix(" head") {
            Some(status) => (status, true),
            None => (wanted, false),
        };
        let answer =
            self.client.answer(is_head).map_err(|error| format!("reading an answer: {error}"))?;
        let said = format!("the status (of {:?} {})", answer.headers, answer.text());
        let found = answer.status.to_string();
        self.answer = Some(answer);
        let is_wanted = status.split('|').any(|status| status == found);
        if is_wanted { Ok(()) } else { Err(format!("{said} is {found}, not {status}")) }
    }

    fn answer(&self) -> Result<&Answer, String> {
        self.answer.as_ref().ok_or_else(|| "no answer was read".to_owned())
    }

    fn has_header(&self, rest: &str) -> Outcome {
        let wanted = String::from_utf8(self.filled(rest)?).unwrap();
        let (name, wanted) = wanted.split_once(": ").expect("`Name: value`");
        let answer = self.answer()?;
        let found = answer
            .header(name)
            .ok_or_else(|| format!("{name} is missing among {:?}", answer.headers))?;
        let open_start = wanted.strip_prefix('*');
        let open_end = wanted.strip_suffix('*');
        let matches = match (open_start, open_end) {
            (Some(_), Some(_)) if wanted.len() < 3 => true,
            (Some(_), Some(_)) => found.contains(&wanted[1..wanted.len() - 1]),
            (Some(end), None) => found.ends_with(end),
            (None, Some(start)) => found.starts_with(start),
            (None, None) => found == wanted,
        };
        if matches { Ok(()) } else { Err(format!("{name} is `{found}`, not `{wanted}`")) }
    }

    fn lacks_header(&self, name: &str) -> Outcome {
        match self.answer()?.header(name) {
            None => Ok(()),
            Some(value) => Err(format!("{name} is there: `{value}`")),
        }
    }

    fn keep(&mut self, rest: &str) -> Outcome {
        let (name, header) = rest.split_once(' ').unwrap();
        let value = self.answer()?.header(header).ok_or_else(|| format!("no {header}"))?.to_owned();
        self.kept.insert(name.to_owned(), value);
        Ok(())
    }

    /// Fills in the folder and what was kept, then takes the escapes away.
    fn filled(&self, text: &str) -> Result<Vec<u8>, String> {
        let mut text = text.replace('@', &self.folder);
        for (name, value) in &self.kept {
            text = text.replace(&format!("${name}"), value);
        }
        Ok(unescaped(&text))
    }
}

fn same(found: &str, wanted: &str, what: &str) -> Outcome {
    if found == wanted { Ok(()) } else { Err(format!("{what} is `{found}`, not `{wanted}`")) }
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(place) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..place]);
        let escape = &rest[place + 1..];
        match escape.as_bytes()[0] {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'\\' => out.push(b'\\'),
            b'x' => out.push(u8::from_str_radix(&escape[1..3], 16).unwrap()),
            b'{' => {
                let end = escape.find('}').unwrap();
                let (unit, count) = escape[1..end].rsplit_once('*').unwrap();
                out.extend_from_slice(&unescaped(unit).repeat(count.parse().unwrap()));
            }
            _ => panic!("no such escape: {text}"),
        }
        let width = match escape.as_bytes()[0] {
            b'x' => 3,
            b'{' => escape.find('}').unwrap() + 1,
            _ => 1,
        };
        rest = &escape[width..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

#[test]
fn escapes_are_taken_away() {
    assert_eq!(unescaped("a\\r\\n\\x00\\{ab*2}\\\\"), b"a\r\n\0abab\\");
}
