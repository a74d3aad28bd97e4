//! The commands end to end, against a scripted server: what is measured, and what is said when
//! something is wrong.
#![allow(clippy::unwrap_used)]

#[path = "commands/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use loadtest::content::Content;
use loadtest::report::model::Report;
use server::{Reply, good, start};

/// Runs the binary with `words`, and then with `url`.
fn run(words: &str, url: &str) -> Output {
    let words = words.split(' ').chain([url]).filter(|word| !word.is_empty());
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(words).output().unwrap()
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/a")
}

/// Runs, and checks the exit code and a part of the sentence.
#[track_caller]
fn expect(words: &str, url: &str, code: i32, part: &str) {
    let output = run(words, url);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words} {url}: {said}");
    assert!(said.contains(part), "{words} {url}: {said}");
}

/// Runs with a report in JSON, which is returned with the exit code.
fn report(name: &str, words: &str, url: &str) -> (Option<i32>, Report) {
    let path = std::env::temp_dir().join(format!("loadtest-{}-{name}.json", std::process::id()));
    let output = run(&format!("{words} --report {}", path.display()), url);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{output:?}"));
    std::fs::remove_file(&path).unwrap();
    (output.status.code(), loadtest::report::json::read("report", &text).unwrap())
}

const SHORT: &str = "rate --rate 200 --warmup 0s --clock-check 0s -d 1s -c 8 --timeout 300ms";

#[test]
fn every_scheduled_request_is_sent_and_measured() {
    let address = start(|_| Reply::Keep(good("hello")));
    let (_, report) = report(
        "all",
        "rate --rate 500 --arrivals constant --clock-check 0s -d 2s -c 4",
        &url(address),
    );
    assert_eq!(report.load.offered, Some(1000));
    assert_eq!((report.load.achieved, report.load.failed, report.load.shed), (1000, 0, 0));
    assert_eq!(report.load.bytes, 5000);
    let operation = &report.operations[0];
    for latency in [
        &operation.lateness,
        &operation.wait,
        &operation.first_byte,
        &operation.service,
        &operation.response,
    ] {
        assert_eq!(latency.as_ref().unwrap().count(), 1000);
    }
    assert!(
        operation.response.as_ref().unwrap().max() >= operation.service.as_ref().unwrap().max()
    );
    assert_eq!(report.series.iter().map(|second| second.offered).sum::<u64>(), 1000);
    assert_eq!(report.series.iter().map(|second| second.achieved).sum::<u64>(), 1000);
    let phases: Vec<&str> = report.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(phases, ["connect", "warm-up", "measure", "drain"]);
    assert_eq!((report.phases[0].completed, report.phases[1].completed), (4, 500));
}

#[test]
fn a_closed_loop_has_neither_lateness_nor_a_schedule() {
    let address = start(|_| Reply::Keep(good("hello")));
    let (code, report) = report("closed", "closed -d 1s --warmup 200ms -c 4 -t 2", &url(address));
    assert_eq!(code, Some(0));
    assert!(report.load.closed && report.load.offered.is_none() && report.load.achieved > 100);
    let operation = &report.operations[0];
    assert!(operation.lateness.is_none() && operation.response.is_none());
    assert_eq!(operation.service.as_ref().unwrap().count(), report.load.achieved);
}

/// A server that stands still for 100 ms of every second: a tenth of all arrivals wait, up to
/// 100 ms, so that 1 % wait longer than 90 ms. A closed loop sends nothing meanwhile and does not
/// see it.
#[test]
fn a_stall_is_seen_by_the_open_loop_and_hidden_by_the_closed() {
    let begin = Instant::now();
    let address = start(move |_| {
        let into = begin.elapsed().as_millis() % 1000;
        if into >= 900 {
            std::thread::sleep(Duration::from_millis(u64::try_from(1000 - into).unwrap()));
        }
        Reply::Keep(good("x"))
    });
    let (_, open) =
        report("open", "rate --rate 400 --clock-check 0s -d 5s -c 100 --seed 3", &url(address));
    let p99 = open.operations[0].response.as_ref().unwrap().value_at(0.99) as f64 / 1e6;
    assert!((81.0..99.0).contains(&p99), "p99 is {p99} ms");
    let (_, closed) = report("hidden", "closed -d 5s -c 4", &url(address));
    let p99 = closed.operations[0].service.as_ref().unwrap().value_at(0.99) as f64 / 1e6;
    assert!(p99 < 40.0, "p99 is {p99} ms");
}

#[test]
fn keys_methods_and_bodies_arrive() {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let notes = Arc::clone(&seen);
    let address = start(move |asked| {
        notes.lock().unwrap().insert(asked.line.clone());
        assert_eq!(asked.body.len(), 40_000, "{}", asked.line);
        Reply::Keep(good(""))
    });
    let url = format!("http://{address}/k-{{00..11}}");
    let (_, report) = report("put", &format!("{SHORT} -X PUT --body-size 40000"), &url);
    assert_eq!(report.load.failed, 0);
    assert_eq!(report.operations[0].name, "PUT");
    let expected: BTreeSet<String> = (0..12).map(|key| format!("PUT /k-{key:02}")).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn a_connection_for_each_request_counts_as_wait() {
    let close = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    let address = start(move |_| Reply::Close(close.to_vec()));
    let (_, report) = report("close", SHORT, &url(address));
    assert_eq!((report.load.failed, report.load.achieved), (0, report.load.offered.unwrap()));
    assert!(report.phases[0].completed >= report.load.achieved, "connects are counted");
}

#[test]
fn errors_stand_in_the_tail_by_class() {
    let answer = |number| match number % 20 {
        1 => Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel".to_vec()),
        2 => Reply::Keep(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec()),
        3 => Reply::Close(b"hello, this is no HTTP\r\n".to_vec()),
        4 => Reply::Close(Vec::new()),
        5 => Reply::Hang,
        _ => Reply::Keep(good("x")),
    };
    let address = start(move |asked| answer(asked.number));
    let (code, report) = report("errors", &format!("{SHORT} --threshold errors<1%"), &url(address));
    let operation = &report.operations[0];
    let classes: Vec<&str> = operation.errors.keys().map(String::as_str).collect();
    assert_eq!(classes, ["bad response", "closed", "status 503", "timeout", "truncated"]);
    let response = operation.response.as_ref().unwrap();
    let slow: u64 =
        response.recorded().filter(|(value, _)| *value > 299_000_000).map(|(_, count)| count).sum();
    assert_eq!(slow, operation.failed(), "no error is faster than the timeout");
    // A run of which a quarter failed is none at that rate, however punctual the generator was.
    assert_eq!(code, Some(3));
    let reasons = &report.verdict.reasons;
    let shortfall = reasons.iter().find(|reason| reason.starts_with("Only")).unwrap();
    assert!(shortfall.contains("offered requests were achieved") && shortfall.contains("failed"));
    let share = format!("{} requests failed, ", operation.failed());
    assert!(report.verdict.notes.iter().any(|note| note.starts_with(&share)), "{report:?}");
}

/// Where one answer in four is an error, the good ones say little of how fast the server can go.
#[test]
fn a_closed_loop_of_errors_is_invalid() {
    let no = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    let address = start(move |asked| match asked.number % 4 {
        3 => Reply::Keep(no.to_vec()),
        _ => Reply::Keep(good("x")),
    });
    let (code, report) = report("closed-errors", "closed -d 500ms --warmup 0s -c 2", &url(address));
    let reasons = &report.verdict.reasons;
    assert_eq!((code, reasons.len()), (Some(3), 1), "{reasons:?}");
    assert!(reasons[0].contains("answered requests were achieved"), "{reasons:?}");
}

#[test]
fn a_dead_target_is_a_sentence() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    expect(SHORT, &url(nobody), 6, "the connection was refused");
    let silent = start(|_| Reply::Hang);
    expect(SHORT, &url(silent), 6, "not complete in time");
    let other = start(|_| Reply::Close(b"SSH-2.0-x\r\n".to_vec()));
    expect(SHORT, &url(other), 7, "not HTTP/1.1");
    let cut = start(|_| Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel".to_vec()));
    expect(SHORT, &url(cut), 7, "the body ended after 3 of 9 bytes");
    let missing = start(|_| Reply::Keep(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_vec()));
    expect(SHORT, &url(missing), 7, "status 404");
    let late = start(|asked| if asked.number == 0 { Reply::Keep(good("")) } else { Reply::Hang });
    expect(SHORT, &url(late), 7, "requests failed (timeout)");
}

#[test]
fn wrong_flags_are_sentences() {
    let address = start(|_| Reply::Keep(good("x")));
    let good_url = url(address);
    for (words, url, part) in [
        ("rate", good_url.as_str(), "--rate"),
        ("rate --rate x", &good_url, "no number of requests"),
        ("rate --rate 100", "https://127.0.0.1/", "TLS"),
        ("rate --rate 100", "http://127.0.0.1/{1}", "write a range as"),
        ("rate --rate 100", "http://192.0.2.1/", "--allow-remote"),
        ("rate --rate 100 --pin 999", &good_url, "may run on CPUs"),
        ("rate --rate 100 --threshold p99", &good_url, "no `<` or `>`"),
        ("rate --rate 100 --report a.pdf", &good_url, "must end in one of"),
        ("rate --rate 100 --trace t", &good_url, "cannot be used with"),
        ("rate --trace /nonexistent", &good_url, "No such file"),
        ("closed -c 0", &good_url, "at least one for each thread"),
        ("closed --url-file /nonexistent", "", "No such file"),
        ("closed", "", "no URL"),
        ("closed -H nothing", &good_url, "write for example"),
        ("capacity --precision 2", &good_url, "0.001 to 0.5"),
        ("capacity viewers --most 5", &good_url, "at most the largest"),
        ("capacity viewers --gate p99", &good_url, "no `<` or `>`"),
    ] {
        expect(words, url, 2, part);
    }
}

/// Nothing can be measured in no time: no command begins, nor divides by it.
#[test]
fn times_of_nothing_are_sentences() {
    let good_url = url(start(|_| Reply::Keep(good("x"))));
    for (words, part) in [
        ("rate --rate 100 -d 0s", "--duration 0: nothing would be measured"),
        ("rate --rate 100 --timeout 0s", "--timeout 0: every request would fail"),
        ("rate --rate 100 -d -1s", "unexpected argument '-1'"),
        ("rate --rate 100 -d soon", "write for example"),
        ("rate --rate 0", "no request would ever be due"),
        ("closed -d 0ms", "--duration 0"),
        ("capacity -d 0s", "--duration 0"),
        ("capacity --start 0", "`0` is no rate"),
        ("capacity viewers -d 0s", "--duration 0"),
        ("live -d 0s", "--duration 0"),
        ("publish -d 0s", "--duration 0ns: must be above 0"),
        ("publish --segment 0s", "--segment 0ns: must be above 0"),
        ("topics -d 0s", "--duration 0ns: must be above 0"),
        ("topics --rate 0", "--rate 0: must be above 0"),
    ] {
        expect(words, &good_url, 2, part);
    }
    expect(&format!("compare --rate 100 -d 0s {good_url}"), &good_url, 2, "--duration 0");
}

/// Each mistake of a URL file is named with its line, before anything is sent.
#[test]
fn mistakes_of_a_url_file_name_their_line() {
    let path = std::env::temp_dir().join(format!("loadtest-urls-{}", std::process::id()));
    let words = format!("rate --rate 100 -d 1s --url-file {}", path.display());
    for (line, part) in [
        ("127.0.0.1/a", "no scheme"),
        ("https://127.0.0.1/a", "TLS"),
        ("http:///a", "no host"),
        ("http://127.0.0.1/{1}", "write a range as"),
        ("http://127.0.0.1/{9..1}", "write a range as"),
        ("http://127.0.0.1/a weight=much", "weight `much`: a number from 0"),
        ("http://127.0.0.1/a weight=-1", "weight `-1`"),
        ("http://127.0.0.1/a weight=inf", "weight `inf`"),
        ("http://127.0.0.1/a method=get", "method `get`: write for example GET"),
        ("http://127.0.0.1/a method=", "method ``"),
        ("http://127.0.0.1/a name=a,b", "name `a,b`: at least a letter, and no comma"),
        ("http://127.0.0.1/a heavy", "`heavy` is neither weight=, method= nor name="),
        ("http://127.0.0.1/a b=1", "`b=1` is neither"),
    ] {
        let good = "# three good lines before it\n\nhttp://127.0.0.1:1/good weight=2 method=PUT\n";
        std::fs::write(&path, format!("{good}{line}\nhttp://127.0.0.1:1/\n")).unwrap();
        let place = format!("URL file `{}`, line 4: ", path.display());
        expect(&words, "", 2, &place);
        expect(&words, "", 2, part);
    }
    std::fs::write(&path, b"http://127.0.0.1/\xff\n").unwrap();
    expect(&words, "", 2, "valid UTF-8");
    std::fs::write(&path, "# nothing\n").unwrap();
    expect(&words, "", 2, "no URL");
    std::fs::write(&path, "http://127.0.0.1/a weight=0\n").unwrap();
    expect(&words, "", 2, "not all 0");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_full_disk_is_a_sentence() {
    let address = start(|_| Reply::Keep(good("x")));
    // The ending decides the form, so the full device needs a name with one.
    let link = std::env::temp_dir().join(format!("loadtest-full-{}.json", std::process::id()));
    std::os::unix::fs::symlink("/dev/full", &link).unwrap();
    let words = format!("closed -d 200ms --warmup 0s --report {}", link.display());
    expect(&words, &url(address), 5, "No space left on device");
    std::fs::remove_file(&link).unwrap();
    expect("closed -d 200ms --warmup 0s --report /nonexistent/a.json", &url(address), 5, "written");
}

#[test]
fn sigint_gives_a_partial_report() {
    let address = start(|_| Reply::Keep(good("x")));
    let path = std::env::temp_dir().join(format!("loadtest-stop-{}.json", std::process::id()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["rate", "--rate", "100", "--warmup", "0s", "--clock-check", "0s", "-d", "60s"])
        .args(["--threshold", "p50<1ns", "--quiet", "--report", path.to_str().unwrap()])
        .arg(url(address))
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let text = std::fs::read_to_string(&path).unwrap();
    let report = loadtest::report::json::read("report", &text).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(report.verdict.interrupted);
    assert!((0.5..5.0).contains(&report.load.duration_s), "{}", report.load.duration_s);
    assert!(report.load.achieved > 20);
}

#[test]
fn large_bodies_are_counted_to_the_byte() {
    let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{}", "x".repeat(300_000));
    let cut = whole[..whole.len() - 1].to_owned();
    let address = start(move |asked| match asked.number % 10 {
        9 => Reply::Close(cut.clone().into_bytes()),
        _ => Reply::Keep(whole.clone().into_bytes()),
    });
    let (_, report) = report("large", SHORT, &url(address));
    let operation = &report.operations[0];
    let truncated = operation.errors["truncated"];
    assert_eq!(operation.failed(), truncated);
    assert_eq!(operation.bytes, operation.completed * 300_000 + truncated * 299_999);
    assert!((10..30).contains(&truncated), "{truncated}");
}

#[test]
fn contents_are_compared_on_a_sample() {
    let script = |wrong: bool, size: u64| {
        move |_| {
            let mut body = vec![0; usize::try_from(size).unwrap()];
            Content::new(5, "/a", size).fill(0, &mut body);
            if wrong {
                *body.last_mut().unwrap() ^= 1;
            }
            let mut answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes();
            answer.extend_from_slice(&body);
            Reply::Keep(answer)
        }
    };
    // Small ones arrive whole; large ones are otherwise thrown away inside the kernel.
    for size in [1000, 200_000] {
        let words = format!("{SHORT} --seed 5 --verify 2");
        let (_, good) = report("equal", &words, &url(start(script(false, size))));
        let half = good.load.achieved / 2;
        let verified = good.operations[0].verified;
        assert!(verified.abs_diff(half) < 40, "{verified} of {}", good.load.achieved);
        assert_eq!(good.load.failed, 0);
        let (_, bad) = report("differs", &words, &url(start(script(true, size))));
        assert_eq!(bad.operations[0].errors["content"], bad.operations[0].verified);
        assert!(bad.load.achieved > 0 && bad.load.failed > 0);
    }
}

#[test]
fn overload_is_shed_and_makes_a_run_invalid() {
    let address = start(|asked| {
        if asked.number > 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
        Reply::Keep(good("x"))
    });
    let (code, report) = report("shed", &format!("{SHORT} --max-in-flight 10"), &url(address));
    assert_eq!(code, Some(3));
    assert!(report.load.shed > 50, "{}", report.load.shed);
    let ended = report.load.achieved + report.load.failed + report.load.shed;
    assert_eq!(ended, report.load.offered.unwrap());
    assert!(report.verdict.reasons.iter().any(|reason| reason.contains("were achieved")));
}

#[test]
fn a_trace_and_a_url_file_are_followed() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let address = start(move |asked| {
        notes.lock().unwrap().push(asked.line.clone());
        Reply::Keep(good("x"))
    });
    let folder = std::env::temp_dir();
    let (trace, urls) = (
        folder.join(format!("loadtest-trace-{}", std::process::id())),
        folder.join(format!("loadtest-urls-{}", std::process::id())),
    );
    std::fs::write(&trace, "0.0 2\n0.1 1\n0.2 2\n0.3 3\n").unwrap();
    let lines = format!(
        "http://{address}/one name=one\nhttp://{address}/two method=OPTIONS\n# no\n\
         http://{address}/three weight=2\n"
    );
    std::fs::write(&urls, lines).unwrap();
    let words =
        format!("rate --clock-check 0s --trace {} --url-file {}", trace.display(), urls.display());
    let (_, report) = report("trace", &words, "");
    std::fs::remove_file(&trace).unwrap();
    std::fs::remove_file(&urls).unwrap();
    let asked = seen.lock().unwrap().split_off(3);
    assert_eq!(asked, ["OPTIONS /two", "GET /one", "OPTIONS /two", "GET /three"]);
    let counts: Vec<(&str, u64)> =
        report.operations.iter().map(|o| (o.name.as_str(), o.completed)).collect();
    assert_eq!(counts, [("one", 1), ("OPTIONS", 2), ("GET", 1)]);
}

#[test]
fn a_ramp_offers_its_area() {
    let address = start(|_| Reply::Keep(good("x")));
    let rate = ["--rate", "0..400 over 1s, 200 for 500ms"];
    let path = std::env::temp_dir().join(format!("loadtest-ramp-{}.json", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args([
            "rate",
            "--arrivals",
            "constant",
            "--warmup",
            "0s",
            "--clock-check",
            "0s",
            "-t",
            "3",
        ])
        .args(rate)
        .args(["--report", path.to_str().unwrap()])
        .arg(url(address))
        .output()
        .unwrap();
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{output:?}"));
    std::fs::remove_file(&path).unwrap();
    let report = loadtest::report::json::read("ramp", &text).unwrap();
    assert_eq!((report.load.offered, report.load.achieved), (Some(300), 300));
    let seconds: Vec<u64> = report.series.iter().map(|second| second.offered).collect();
    assert!(seconds.len() == 2 && seconds[0].abs_diff(200) <= 2, "{seconds:?}");
}

#[test]
fn several_hosts_and_threads_share_by_weight() {
    let hosts = [start(|_| Reply::Keep(good("a"))), start(|_| Reply::Keep(good("bb")))];
    let words = format!("{SHORT} --rate 1000 -t 3 --weights 3,1 http://{}/x", hosts[0]);
    let words = words.replace("--rate 200 ", "");
    let (_, report) = report("weights", &words, &format!("http://{}/y", hosts[1]));
    let load = &report.load;
    assert_eq!((load.failed, Some(load.achieved)), (0, load.offered));
    // Each answer of the second host is one byte longer; a quarter of the requests is its.
    let second = load.bytes - load.achieved;
    let share = second as f64 / load.achieved as f64;
    assert!((0.19..0.31).contains(&share), "{share} of {}", load.achieved);
    assert_eq!(report.series.iter().map(|s| s.offered).sum::<u64>(), load.offered.unwrap());
}

/// A server may close a connection that nobody uses: the next request connects again.
#[test]
fn a_connection_closed_while_idle_is_no_error() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                if stream.read(&mut [0; 1024]).unwrap_or(0) > 0 {
                    stream.write_all(&good("x")).unwrap();
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
        }
    });
    let words = "rate --rate 20 --arrivals constant --warmup 0s --clock-check 0s -d 1s -c 1";
    let (_, report) = report("idle", words, &format!("http://{address}/"));
    assert_eq!((report.load.achieved, report.load.failed), (20, 0));
    assert_eq!(report.phases[0].completed, 20, "one connect for each request");
}
