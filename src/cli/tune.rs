//! `headwater tune`: from which size on it pays to send by reference instead of by copy, here.
//!
//! Runs this program as an origin once for each way, reads objects of growing sizes from them over
//! loopback, in turn, and compares the CPU time of their threads per answer. Zero-copy is shown
//! too: over loopback the kernel copies it, so its threshold is for a network card to decide.
//!
//! **Invariants**: it speaks to processes that it started only, and ends them; the time it takes is
//! bounded by [`ROUNDS`], the sizes and [`SLICE`].

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Sizes that are measured, in bytes.
const SIZES: [usize; 9] =
    [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20];
/// The ways, as `--tx` names them.
const WAYS: [&str; 3] = ["copy", "splice", "zc"];
/// How often each way has its turn at each size; the middle one counts.
const ROUNDS: usize = 5;
/// One turn.
const SLICE: Duration = Duration::from_millis(150);
/// Longest wait for a started origin, and for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A way pays when it costs at most this share of copying.
const PAYS: f64 = 0.97;

/// CPU time per answer in microseconds, by size and way.
type Costs = [[f64; WAYS.len()]; SIZES.len()];

/// Measures, and gives the text to show and the threshold for sending by reference, if it pays.
///
/// # Errors
/// A sentence.
pub(super) fn measure() -> Result<(String, Option<usize>), String> {
    let folder = std::env::temp_dir().join(format!("headwater-tune-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let measured = costs(&folder);
    let _ = fs::remove_dir_all(&folder);
    let costs = measured.map_err(|error| format!("the measurement failed: {error}"))?;
    let threshold = threshold(&costs);
    Ok((table(&costs, threshold), threshold))
}

/// The configuration with the threshold in it.
pub(super) fn written(text: &str, threshold: usize) -> String {
    let line = format!("splice_bytes_min = \"{}KiB\"", threshold >> 10);
    let is_key = |one: &str| one.trim_start().starts_with("splice_bytes_min");
    if text.lines().any(is_key) {
        let lines = text.lines().map(|one| if is_key(one) { line.as_str() } else { one });
        return lines.fold(String::new(), |text, one| text + one + "\n");
    }
    // Keys of the file itself stand before its first table.
    format!("{line}\n{text}")
}

fn costs(folder: &Path) -> io::Result<Costs> {
    let mut origins = Vec::new();
    for way in WAYS {
        origins.push(Origin::start(folder, way)?);
    }
    let mut costs = Costs::default();
    for (size, row) in SIZES.iter().zip(&mut costs) {
        for origin in &mut origins {
            origin.put(*size)?;
        }
        let mut rounds = [const { Vec::new() }; WAYS.len()];
        for _ in 0..ROUNDS {
            for (origin, costs) in origins.iter_mut().zip(&mut rounds) {
                costs.push(origin.turn(*size)?);
            }
        }
        for (cost, mut costs) in row.iter_mut().zip(rounds) {
            costs.sort_by(f64::total_cmp);
            *cost = costs[ROUNDS / 2];
        }
    }
    Ok(costs)
}

/// The smallest size from which on sending by reference is cheaper at every size.
fn threshold(costs: &Costs) -> Option<usize> {
    let pays = |row: &[f64; WAYS.len()]| row[1] <= PAYS * row[0];
    let run = costs.iter().rev().take_while(|row| pays(row)).count();
    SIZES.get(SIZES.len() - run).copied()
}

fn table(costs: &Costs, threshold: Option<usize>) -> String {
    let title = "CPU time of the origin per answer, over loopback, in microseconds";
    let mut text = format!("{title}\n\n");
    let _ = writeln!(text, "{:>10}{:>10}{:>10}{:>10}", "KiB", WAYS[0], WAYS[1], WAYS[2]);
    for (size, row) in SIZES.iter().zip(costs) {
        let _ = write!(text, "{:>10}", size >> 10);
        let _ = writeln!(text, "{:>10.1}{:>10.1}{:>10.1}", row[0], row[1], row[2]);
    }
    text.push('\n');
    text.push_str(&match threshold {
        Some(bytes) => format!("By reference (splice) from {} KiB on.\n", bytes >> 10),
        None => "Sending by reference does not pay at any of these sizes.\n".to_owned(),
    });
    text.push_str(
        "Zero-copy (zc) is copied by the kernel on loopback; what a network card makes of it\n\
         shows in headwater_sends_zc_copied_total, and zero_copy_bytes_min sets its threshold.\n",
    );
    text
}

/// An origin that sends in one way.
struct Origin {
    child: Child,
    address: SocketAddr,
    client: Option<TcpStream>,
    answer: Vec<u8>,
}

impl Origin {
    fn start(folder: &Path, way: &str) -> io::Result<Self> {
        let config: PathBuf = folder.join(format!("{way}.toml"));
        fs::write(&config, "splice_bytes_min = \"4KiB\"\nzero_copy_bytes_min = \"4KiB\"\n")?;
        let (address, admin) = (free_address()?, free_address()?);
        let child = Command::new(std::env::current_exe()?)
            .args(["serve", "--shards", "1", "--memory", "64MiB", "--tx", way, "--config"])
            .arg(&config)
            .args(["--listen", &address.to_string(), "--admin", &admin.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut origin = Self { child, address, client: None, answer: vec![0; 64 << 10] };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = origin.child.try_wait()? {
                return Err(io::Error::other(format!("the origin with --tx {way}: {status}")));
            }
            if Instant::now() > until {
                return Err(io::Error::other("the origin does not start"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let client = TcpStream::connect(address)?;
        client.set_read_timeout(Some(PATIENCE))?;
        client.set_nodelay(true)?;
        origin.client = Some(client);
        Ok(origin)
    }

    fn put(&mut self, size: usize) -> io::Result<()> {
        let mut client = TcpStream::connect(self.address)?;
        client.set_read_timeout(Some(PATIENCE))?;
        let head = format!(
            "PUT /tune/{size} HTTP/1.1\r\nHost: tune\r\nConnection: close\r\n\
             Content-Length: {size}\r\n\r\n"
        );
        client.write_all(&[head.as_bytes(), &vec![7; size]].concat())?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        match answer.starts_with("HTTP/1.1 20") {
            true => Ok(()),
            false => Err(io::Error::other(answer.lines().next().unwrap_or_default().to_owned())),
        }
    }

    /// CPU time per answer over one slice, in microseconds.
    fn turn(&mut self, size: usize) -> io::Result<f64> {
        self.get(size)?;
        let (before, until) = (self.cpu_ns()?, Instant::now() + SLICE);
        let mut answers = 0;
        while Instant::now() < until {
            self.get(size)?;
            answers += 1;
        }
        Ok((self.cpu_ns()? - before) as f64 / f64::from(answers) / 1000.0)
    }

    fn get(&mut self, size: usize) -> io::Result<()> {
        let client = self.client.as_mut().expect("it was connected at the start");
        client.write_all(format!("GET /tune/{size} HTTP/1.1\r\nHost: tune\r\n\r\n").as_bytes())?;
        let (mut head_end, mut head, mut got) = (None, Vec::new(), 0);
        while head_end.is_none_or(|end| got < end + size) {
            let count = client.read(&mut self.answer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            got += count;
            if head_end.is_none() {
                head.extend_from_slice(&self.answer[..count]);
                head_end = head.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
            }
        }
        Ok(())
    }

    /// CPU time of all threads so far.
    fn cpu_ns(&self) -> io::Result<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let time = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
            sum += time.unwrap_or(0);
        }
        Ok(sum)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_where_it_begins_to_pay_for_good() {
        let mut costs = [[10.0, 12.0, 20.0]; SIZES.len()];
        assert_eq!(threshold(&costs), None);
        costs[1][1] = 5.0;
        costs[4..].iter_mut().for_each(|row| row[1] = 9.0);
        assert_eq!(threshold(&costs), Some(64 << 10));
        assert!(table(&costs, threshold(&costs)).contains("from 64 KiB on"));
    }

    #[test]
    fn the_key_is_replaced_or_stands_first() {
        let text = "shards = 2\n[log]\nlevel = \"info\"\n";
        let with = "splice_bytes_min = \"64KiB\"\nshards = 2\n[log]\nlevel = \"info\"\n";
        assert_eq!(written(text, 64 << 10), with);
        assert_eq!(written(with, 32 << 10), with.replace("64KiB", "32KiB"));
    }
}
