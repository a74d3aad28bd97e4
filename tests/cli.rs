//! The program as an operator meets it: help, check, refusals, exit codes, stopping.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn headwater(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headwater"))
        .args(arguments)
        .env_remove("HEADWATER_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the output is text")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("the output is text")
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hw-cli-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a temporary file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn check(path: &Path) -> Output {
    headwater(&["check", path.to_str().expect("the path is text")])
}

#[test]
fn version_and_help_succeed() {
    let version = headwater(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(out(&version), concat!("headwater ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = headwater(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for words in ["serve", "check", "Exit codes:", "130", "Examples:"] {
        assert!(out(&help).contains(words), "{words}");
    }
    let serve = headwater(&["serve", "--help"]);
    for words in [
        "--config",
        "--listen",
        "--admin",
        "--shards",
        "--memory",
        "--tx",
        "--congestion",
        "--publish-token-file",
        "[default: 127.0.0.1:8080]",
        "SIGTERM",
    ] {
        assert!(out(&serve).contains(words), "{words}");
    }
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [
        &[][..],
        &["swerve"],
        &["serve", "--unknown"],
        &["serve", "--shards", "many"],
        &["serve", "--memory", "lots"],
        &["serve", "--tx", "sendfile"],
        &["serve", "--congestion", "no such name"],
        &["serve", "--listen", "localhost"],
        &["check"],
    ] {
        let output = headwater(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!err(&output).is_empty() && out(&output).is_empty(), "{arguments:?}");
    }
    assert!(err(&headwater(&["serve", "--tx", "sendfile"])).contains("auto, zc, splice or copy"));
    assert!(err(&headwater(&["serve", "--memory", "lots"])).contains("512MiB"));
}

#[test]
fn policy_says_what_holds_and_why() {
    let folder = Folder::new("policy");
    let text = "[[path]]\npattern = \"live/**\"\nttl_seconds = 60\n\
                [[path]]\npattern = \"live/**\"\nttl_seconds = 9\nwrite_deny = \"10.0.0.0/8\"\n";
    let file = folder.file("headwater.toml", text);
    let file = file.to_str().expect("the path is text");
    for path in ["/live/a%2eb.ts", "http://origin:8080/live/a.b.ts?x=1"] {
        let output = headwater(&["policy", path, "--config", file]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let lines: Vec<String> = out(&output)
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(lines[0], "/live/a.b.ts");
        for line in [
            "ttl_ms 60000 path[0] \"live/**\", line 1",
            "write_deny 10.0.0.0/8 path[1] \"live/**\", line 4",
            "immutable false default",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line}\nin {lines:#?}");
        }
    }
    let output = headwater(&["policy", "live/a.ts", "--config", file]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("expected a URL"), "{}", err(&output));
    let bad = folder.file("bad.toml", "[[path]]\npattern = \"live/**\"\nimmutable = 1\n");
    let output = headwater(&["policy", "/a", "--config", bad.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("bad.toml:3: path[0].immutable: "), "{}", err(&output));
}

#[test]
fn check_says_ok() {
    let folder = Folder::new("ok");
    let path = folder.file("headwater.toml", "shards = 2\n");
    let output = check(&path);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output), format!("{}: ok\n", path.display()));
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/headwater.toml");
    assert_eq!(check(&example).status.code(), Some(0));
}

#[test]
fn check_names_every_mistake_with_file_line_key_and_reason() {
    let folder = Folder::new("mistakes");
    let text = "shards = 0\nlisten = \"0.0.0.0:80\"\n[timeouts]\nidel_ms = 3\n";
    let path = folder.file("headwater.toml", text);
    let output = check(&path);
    assert_eq!(output.status.code(), Some(2));
    let lines: Vec<String> = err(&output).lines().map(str::to_owned).collect();
    let file = path.display();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].starts_with(&format!("{file}:1: shards: expected ")), "{lines:#?}");
    assert!(lines[1].starts_with(&format!("{file}:4: timeouts.idel_ms: ")), "{lines:#?}");
    assert!(lines[1].contains("did you mean \"idle_ms\"?"), "{lines:#?}");
    assert!(lines[2].starts_with(&format!("{file}:2: listen: ")), "{lines:#?}");
    assert!(lines[2].contains("--publish-token-file"), "{lines:#?}");
}

#[test]
fn a_missing_file_is_the_only_mistake() {
    let output = headwater(&["serve", "--listen", "0.0.0.0:1", "--config", "/no/such/file"]);
    assert_eq!(output.status.code(), Some(2));
    let text = err(&output);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("/no/such/file"), "{text}");
}

#[test]
fn token_files_are_found_beside_the_configuration() {
    let folder = Folder::new("tokens");
    folder.file("tokens", "# encoders\n\n0123456789abcdef\n");
    let text = "listen = \"0.0.0.0:80\"\n[publish]\ntoken_file = \"tokens\"\n";
    let sound = folder.file("sound.toml", text);
    assert_eq!(check(&sound).status.code(), Some(0), "{}", err(&check(&sound)));
    folder.file("weak", "secret\n");
    let weak = folder.file("weak.toml", &text.replace("tokens", "weak"));
    let output = check(&weak);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("weak, line 1: "), "{}", err(&output));
    assert!(!err(&output).contains("secret"), "{}", err(&output));
}

#[test]
fn a_start_that_would_let_strangers_write_is_refused() {
    let output = headwater(&["serve", "--listen", "[::]:0", "--admin", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("anybody could write"), "{}", err(&output));
}

#[test]
fn a_log_level_that_means_nothing_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_headwater"))
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .env("HEADWATER_LOG", "a=b=c")
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("HEADWATER_LOG"), "{}", err(&output));
}

/// A running origin, killed when the test is over.
struct Origin {
    child: Child,
    admin: u16,
}

impl Origin {
    fn start(arguments: &[&str]) -> Self {
        // The port may be taken between here and the start: rare, and then the test says so.
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("its address").port()
        };
        let (data, admin) = (free(), free());
        let child = Command::new(env!("CARGO_BIN_EXE_headwater"))
            .args(["serve", "--shards", "1", "--memory", "16MiB"])
            .args(["--listen", &format!("127.0.0.1:{data}")])
            .args(["--admin", &format!("127.0.0.1:{admin}")])
            .args(arguments)
            .env_remove("HEADWATER_LOG")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut origin = Self { child, admin };
        let give_up = Instant::now() + Duration::from_secs(20);
        while !origin.ask("GET", "/readyz").starts_with("HTTP/1.1 200") {
            assert!(Instant::now() < give_up, "never ready");
            assert!(origin.child.try_wait().expect("a child").is_none(), "{}", origin.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        origin
    }

    fn ask(&self, method: &str, path: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.admin)) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
            let _ = write!(stream, "{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        let give_up = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < give_up, "never ends");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn terminate_and_interrupt_drain_and_end_cleanly() {
    for name in ["TERM", "INT"] {
        let mut origin = Origin::start(&[]);
        origin.signal(name);
        assert_eq!(origin.exit_code(), Some(0), "{name}: {}", origin.log());
    }
}

#[test]
fn a_requested_drain_is_answered_and_ends_cleanly() {
    let mut origin = Origin::start(&[]);
    let answer = origin.ask("POST", "/drain");
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer:?}");
    assert_eq!(origin.exit_code(), Some(0), "{}", origin.log());
}

#[test]
fn the_log_is_json_where_nobody_watches() {
    let mut origin = Origin::start(&[]);
    origin.signal("TERM");
    assert_eq!(origin.exit_code(), Some(0));
    let log = origin.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(value["level"].is_string() && value["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn a_hangup_reopens_the_access_log_and_stops_nothing() {
    let folder = Folder::new("hangup");
    let config = folder.file("h.toml", "[access_log]\npath = \"access.log\"\n");
    let mut origin = Origin::start(&["--config", config.to_str().expect("text")]);
    let (log, old) = (folder.0.join("access.log"), folder.0.join("access.log.1"));
    fs::rename(&log, &old).expect("the log is there");
    origin.signal("HUP");
    let give_up = Instant::now() + Duration::from_secs(20);
    while !log.exists() {
        assert!(Instant::now() < give_up, "the log was not opened anew");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(origin.ask("GET", "/healthz").starts_with("HTTP/1.1 200"));
    origin.signal("TERM");
    assert_eq!(origin.exit_code(), Some(0));
}

/// A congestion control that the kernel does not have ends the start with a sentence.
#[test]
fn an_unknown_congestion_control_is_refused_with_a_cure() {
    let arguments = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--memory", "64MiB"];
    let output = headwater(&[&["serve", "--congestion", "nothing"][..], &arguments].concat());
    assert_eq!(output.status.code(), Some(1));
    let told = format!("{}{}", out(&output), err(&output));
    assert!(told.contains("congestion control nothing") && told.contains("module"), "{told}");
}
