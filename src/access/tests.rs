//! The access log end to end: queues, files, rotation, a disk that fills up.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use super::*;
use crate::config::AccessFormat;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hw-access-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(folder: &Folder, sample: u32) -> AccessLogConfig {
    AccessLogConfig { path: Some(folder.0.join("log")), format: AccessFormat::Common, sample }
}

fn record(number: u16) -> Record {
    Record { status: 200, target: Text::new(format!("/{number}").as_bytes()), ..Record::default() }
}

fn meters(count: usize) -> Vec<Arc<ShardMeters>> {
    (0..count).map(|_| Arc::new(ShardMeters::new())).collect()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < give_up, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_record_of_every_shard_becomes_a_line() {
    let folder = Folder::new("all");
    let shards = meters(3);
    let (log, mut sinks) = AccessLog::spawn(&config(&folder, 1), &shards).unwrap();
    for number in 0..300 {
        for sink in &mut sinks {
            assert!(sink.wants());
            sink.push(&record(number));
        }
    }
    let counted = log.meters();
    assert!(log.finish());
    let text = fs::read_to_string(folder.0.join("log")).unwrap();
    assert_eq!(text.lines().count(), 900);
    assert_eq!(text.matches("\"- /299 HTTP/1.1\" 200 -").count(), 3);
    assert_eq!((counted.lines.value(), counted.lost.value()), (900, 0));
    assert!(shards.iter().all(|meters| meters.access_log_dropped.value() == 0));
}

#[test]
fn a_full_queue_drops_and_counts() {
    let shards = meters(1);
    let (sender, receiver) = sync_channel(limits::ACCESS_QUEUE_MAX);
    let mut sink =
        AccessSink { queue: Some(sender), meters: Arc::clone(&shards[0]), sample: 1, skipped: 0 };
    for number in 0..limits::ACCESS_QUEUE_MAX + 5 {
        sink.push(&record(u16::try_from(number).unwrap()));
    }
    assert_eq!(shards[0].access_log_dropped.value(), 5);
    assert_eq!(receiver.try_iter().count(), limits::ACCESS_QUEUE_MAX);
}

#[test]
fn sampling_keeps_one_in_n_and_off_keeps_none() {
    let folder = Folder::new("sample");
    let shards = meters(1);
    let (log, mut sinks) = AccessLog::spawn(&config(&folder, 10), &shards).unwrap();
    assert_eq!((0..1000).filter(|_| sinks[0].wants()).count(), 100);
    assert!(log.finish());
    let mut off = AccessSink::off(Arc::clone(&shards[0]));
    assert!(!off.wants());
    off.push(&record(1));
    assert_eq!(shards[0].access_log_dropped.value(), 0);
}

#[test]
fn after_a_rotation_lines_go_to_the_new_file() {
    let folder = Folder::new("rotate");
    let (log, mut sinks) = AccessLog::spawn(&config(&folder, 1), &meters(1)).unwrap();
    let path = folder.0.join("log");
    let counted = log.meters();
    sinks[0].push(&record(1));
    eventually("the first line", || counted.lines.value() == 1);
    fs::rename(&path, folder.0.join("log.1")).unwrap();
    log.reopener()();
    eventually("the new file", || path.exists());
    sinks[0].push(&record(2));
    assert!(log.finish());
    assert!(fs::read_to_string(folder.0.join("log.1")).unwrap().contains("/1 "));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("/2 ") && !text.contains("/1 "));
}

#[test]
fn a_log_that_cannot_be_opened_is_named() {
    let folder = Folder::new("missing");
    let mut config = config(&folder, 1);
    config.path = Some(folder.0.join("no/such/log"));
    let error = AccessLog::spawn(&config, &meters(1)).unwrap_err().to_string();
    assert!(error.contains("no/such/log"), "{error}");
}

/// `/dev/full` opens, and answers every write with "no space left on device".
#[test]
fn a_real_full_disk_is_survived_and_counted() {
    let config =
        AccessLogConfig { path: Some("/dev/full".into()), format: AccessFormat::Json, sample: 1 };
    let (log, mut sinks) = AccessLog::spawn(&config, &meters(1)).unwrap();
    let counted = log.meters();
    for number in 0..10 {
        sinks[0].push(&record(number));
    }
    eventually("the losses", || counted.lost.value() == 10);
    assert_eq!(counted.lines.value(), 0);
    assert!(log.finish());
}

/// A disk with room for so many bytes; more can be made.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock().unwrap();
        let count = bytes.len().min(disk.1);
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.1 -= count;
        disk.0.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The disk fills up in the middle of a line; when there is room again, the log goes on with
/// whole lines and every line was counted exactly once.
#[test]
fn a_full_disk_costs_lines_but_tears_no_later_one() {
    let line_bytes = {
        let mut out = Vec::new();
        format::line(&mut out, AccessFormat::Common, &record(10));
        out.len()
    };
    for room in 0..3 * line_bytes {
        let disk = Disk::default();
        disk.0.lock().unwrap().1 = room;
        let counted = Arc::new(AccessMeters::new());
        let mut writer =
            Writer::over(Box::new(disk.clone()), AccessFormat::Common, Arc::clone(&counted));
        for number in 10..14 {
            writer.line(&record(number));
        }
        writer.flush();
        disk.0.lock().unwrap().1 = 1 << 20;
        for number in 20..22 {
            writer.line(&record(number));
        }
        writer.flush();
        let text = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
        let whole = |number: u16| {
            text.lines()
                .filter(|line| {
                    line.ends_with("200 -")
                        && line.starts_with("0.0.0.0 ")
                        && line.contains(&format!("/{number} "))
                })
                .count()
        };
        assert_eq!((whole(20), whole(21)), (1, 1), "room {room}: {text}");
        assert_eq!(counted.lines.value() + counted.lost.value(), 6, "room {room}");
        assert_eq!(counted.lines.value(), 2 + (room / line_bytes) as u64, "room {room}");
        assert!(text.ends_with('\n'));
    }
}
