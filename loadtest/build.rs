//! States the commit that the program is built from, where there is a repository: it stands in the
//! environment block of every report.

use std::process::Command;

fn main() {
    // Changes with every commit; where it is not there, nothing is stated.
    println!("cargo:rerun-if-changed=../.git/logs/HEAD");
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    if let Ok(said) = git
        && said.status.success()
    {
        println!(
            "cargo:rustc-env=LOADTEST_GIT_HASH={}",
            String::from_utf8_lossy(&said.stdout).trim()
        );
    }
}
