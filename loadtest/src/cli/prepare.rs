//! `prepare`: uploads objects whose bytes follow from the seed, for `--verify` to compare.
//!
//! The key is the object's path, the length one of `--size`, so that nothing has to be remembered.
//! Reads the first and the last object back, for a server may take a PUT and keep nothing.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::load::{headers, time};
use super::{Ending, Failure};
use crate::content::{Content, Verifier};
use crate::engine::source::Pattern;
use crate::http::{Client, Error, Request, Url};
use crate::limits::{
    BODY_BYTES_MAX, CONNECT_TIMEOUT, PREPARE_CONNECTIONS_MAX, PREPARE_OBJECTS_MAX,
};
use crate::report::units;
use crate::sys::thread;

/// Flags of `prepare`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to upload; ranges such as http://HOST/obj-{0..999} stand for all their values
    #[arg(value_name = "URL", required = true)]
    urls: Vec<String>,
    /// Sizes, taken in turn: 100, 4k, 1M (decimal)
    #[arg(long, value_name = "SIZE", value_delimiter = ',', default_value = "4k")]
    #[arg(value_parser = size)]
    size: Vec<u64>,
    /// Seed of the bytes; `--verify` needs the same
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Uploads at once
    #[arg(long, short, default_value_t = 8)]
    connections: usize,
    /// A header such as `Authorization: Bearer ...`; repeatable
    #[arg(long, short = 'H', value_name = "HEADER")]
    header: Vec<String>,
    /// Time for one request
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    timeout: Duration,
    /// Allow targets other than this machine
    #[arg(long)]
    allow_remote: bool,
}

/// A size with a decimal unit, for clap.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "B" => 1,
        "k" | "kB" => 1000,
        "M" | "MB" => 1_000_000,
        _ => 0,
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes
        .filter(|bytes| factor > 0 && *bytes <= BODY_BYTES_MAX)
        .ok_or(format!("`{text}` is no size of at most {BODY_BYTES_MAX} bytes; write `4k` or `1M`"))
}

/// All objects of one URL.
struct Family {
    address: SocketAddr,
    authority: String,
    pattern: Pattern,
    count: u64,
}

struct Job {
    families: Vec<Family>,
    sizes: Vec<u64>,
    seed: u64,
    headers: String,
    timeout: Duration,
}

/// One object.
struct Object<'a> {
    family: &'a Family,
    path: String,
    content: Content,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    let job = Rc::new(job(args)?);
    thread::catch_stop();
    let all: u64 = job.families.iter().map(|family| family.count).sum();
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(1024)
        .enable_timer()
        .build()
        .context("setting up io_uring")?;
    let start = Instant::now();
    let (uploaded, bytes) = runtime.block_on(async {
        let next = Rc::new(Cell::new(0));
        let bytes = Rc::new(Cell::new(0));
        let failure = Rc::new(RefCell::new(None));
        let workers: Vec<_> = (0..args.connections)
            .map(|_| {
                let (job, next, bytes) = (Rc::clone(&job), Rc::clone(&next), Rc::clone(&bytes));
                let failure = Rc::clone(&failure);
                monoio::spawn(async move {
                    if let Err(error) = upload(&job, all, &next, &bytes).await {
                        // The others stop; the first error is the one to tell.
                        next.set(all);
                        failure.borrow_mut().get_or_insert(error);
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await;
        }
        if let Some(error) = failure.borrow_mut().take() {
            return Err(error);
        }
        let uploaded = next.get().min(all);
        if uploaded == all {
            for index in [0, all - 1] {
                read_back(&job.object(index), &job).await?;
            }
        }
        Ok((uploaded, bytes.get()))
    })?;
    println!(
        "uploaded {} objects, {}, in {}; compare them with --verify N --seed {}",
        units::count(uploaded),
        units::bytes(bytes as f64),
        units::time(start.elapsed().as_secs_f64() * 1e9),
        job.seed
    );
    Ok(if uploaded < all { Ending::Interrupted } else { Ending::Good })
}

fn job(args: &Args) -> Result<Job, Failure> {
    if args.connections == 0 || args.connections > PREPARE_CONNECTIONS_MAX {
        return Err(Failure::Usage(format!(
            "--connections {}: 1 to {PREPARE_CONNECTIONS_MAX}",
            args.connections
        )));
    }
    let mut families = Vec::new();
    let mut all = 0u64;
    for text in &args.urls {
        let url = Url::parse(text).map_err(Failure::Usage)?;
        let pattern = Pattern::parse(&url.path).map_err(Failure::Usage)?;
        let address = url.resolve().map_err(Failure::Unreachable)?;
        if !args.allow_remote && !address.ip().is_loopback() {
            return Err(Failure::Usage(format!(
                "{url} is another machine ({address}); upload to it only with its owner's consent, \
                 and with --allow-remote"
            )));
        }
        let count = pattern.count().unwrap_or(u64::MAX);
        all = all.saturating_add(count);
        families.push(Family { address, authority: url.authority, pattern, count });
    }
    if all > PREPARE_OBJECTS_MAX {
        return Err(Failure::Usage(format!("{all} objects: at most {PREPARE_OBJECTS_MAX}")));
    }
    Ok(Job {
        families,
        sizes: args.size.clone(),
        seed: args.seed,
        headers: headers(&args.header)?,
        timeout: args.timeout,
    })
}

impl Job {
    fn object(&self, index: u64) -> Object<'_> {
        let size = usize::try_from(index).map_or(0, |index| index % self.sizes.len());
        let size = self.sizes[size];
        let mut left = index;
        let mut family = &self.families[0];
        for next in &self.families {
            family = next;
            if left < next.count {
                break;
            }
            left -= next.count;
        }
        let path = family.pattern.nth(left);
        let content = Content::new(self.seed, &path, size);
        Object { family, path, content }
    }
}

/// One worker: takes objects until there are no more.
async fn upload(job: &Job, all: u64, next: &Cell<u64>, bytes: &Cell<u64>) -> Result<(), Failure> {
    let mut client: Option<(SocketAddr, Client)> = None;
    let mut body = Vec::new();
    while next.get() < all && !thread::stopped() {
        let object = job.object(next.replace(next.get() + 1));
        let what = format!("PUT http://{}{}", object.family.authority, object.path);
        body.resize(usize::try_from(object.content.length()).unwrap_or(0), 0);
        object.content.fill(0, &mut body);
        let request = object.request(job, "PUT", &body);
        let address = object.family.address;
        let mut tries = 0;
        let status = loop {
            let fresh =
                !client.as_ref().is_some_and(|(to, kept)| *to == address && kept.reusable());
            if fresh {
                let connected = Client::connect(address, CONNECT_TIMEOUT).await;
                client =
                    Some((address, connected.map_err(|error| Failure::of_request(&what, &error))?));
            }
            let Some((_, connection)) = client.as_mut() else { continue };
            match send(connection, &request, job.timeout).await {
                Ok(status) => break status,
                // A kept connection that was closed while idle: once more on a new one.
                Err(Error::Closed | Error::Reset) if !fresh && tries == 0 => tries += 1,
                Err(error) => return Err(Failure::of_request(&what, &error)),
            }
        };
        if !(200..300).contains(&status) {
            return Err(Failure::Unusable(format!(
                "{what}: answered {status}; does the target take uploads there, without a \
                 credential (--header)?"
            )));
        }
        bytes.set(bytes.get() + object.content.length());
    }
    Ok(())
}

async fn send(client: &mut Client, request: &Request<'_>, timeout: Duration) -> Result<u16, Error> {
    let mut response = client.request(request, timeout).await?;
    let status = response.status();
    response.discard().await?;
    Ok(status)
}

/// Reads one object and compares it.
async fn read_back(object: &Object<'_>, job: &Job) -> Result<(), Failure> {
    let what = format!("GET http://{}{}", object.family.authority, object.path);
    let failure = |error| Failure::of_request(&what, &error);
    let mut client =
        Client::connect(object.family.address, CONNECT_TIMEOUT).await.map_err(failure)?;
    let request = object.request(job, "GET", b"");
    let mut response = client.request(&request, job.timeout).await.map_err(failure)?;
    let mut verifier = Verifier::new(object.content, 0);
    while let Some(chunk) = response.chunk(usize::MAX).await.map_err(failure)? {
        verifier.check(chunk);
    }
    match (response.status(), verifier.finish(object.content.length())) {
        (200, true) => Ok(()),
        (200, false) => Err(Failure::Unusable(format!("{what}: not the bytes that were uploaded"))),
        (status, _) => Err(Failure::Unusable(format!("{what}: answered {status} after the PUT"))),
    }
}

impl Object<'_> {
    fn request<'a>(&'a self, job: &'a Job, method: &'a str, body: &'a [u8]) -> Request<'a> {
        Request {
            method,
            path: &self.path,
            host: &self.family.authority,
            headers: &job.headers,
            body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!((size("100"), size("4k"), size("2M")), (Ok(100), Ok(4000), Ok(2_000_000)));
        for bad in ["", "k", "4G", "4.5k", "1000M", "99999999999999999999"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn objects_are_counted_through_all_urls() {
        let family = |path: &str| {
            let pattern = Pattern::parse(path).unwrap();
            let count = pattern.count().unwrap();
            let address = "127.0.0.1:1".parse().unwrap();
            Family { address, authority: "h".to_owned(), pattern, count }
        };
        let job = Job {
            families: vec![family("/a{0..1}"), family("/b")],
            sizes: vec![10, 20],
            seed: 1,
            headers: String::new(),
            timeout: Duration::from_secs(1),
        };
        let objects: Vec<(String, u64)> =
            (0..3).map(|i| job.object(i)).map(|o| (o.path, o.content.length())).collect();
        let expected = [("/a0", 10), ("/a1", 20), ("/b", 10)];
        assert_eq!(objects, expected.map(|(path, size)| (path.to_owned(), size)));
    }
}
