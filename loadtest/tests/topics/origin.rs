//! The real origin, as a process of its own: the program of this workspace, built when it is not.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A running origin.
pub struct Origin {
    address: SocketAddr,
    child: Child,
    folder: PathBuf,
}

impl Origin {
    /// Starts one with so many shards and these lines of configuration.
    pub fn start(name: &str, shards: usize, config: &str) -> Self {
        let folder = format!("loadtest-topics-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("headwater.toml");
        std::fs::write(&file, config).unwrap();
        let (address, admin) = (free_address(), free_address());
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let child = Command::new(binary())
            .args(["serve", "--memory", "64MiB", "--shards", &shards.to_string()])
            .args(["--listen", &address.to_string(), "--admin", &admin.to_string()])
            .args(["--config", file.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut origin = Self { address, child, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            let ended = origin.child.try_wait().unwrap();
            let late = Instant::now() > deadline;
            assert!(ended.is_none() && !late, "no origin ({ended:?}):\n{}", origin.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        origin
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends it, and asserts that it was well.
    pub fn stop(mut self) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        let log = self.log();
        assert!(status.success() && !log.contains("panicked"), "{status}:\n{log}");
        std::fs::remove_dir_all(&self.folder).unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // Both fail when it has been stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program beside the one under test, of the same profile.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_loadtest")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "headwater", "--bin", "headwater"]);
        cargo.arg("--target-dir").arg(folder.parent().unwrap());
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder.join("headwater")
    })
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}
