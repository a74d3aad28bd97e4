//! Holds the tree to its own rules; fails with `file:line: rule` for every line that breaks one.
//!
//! The tables below are the rules. What a room may name is decided here and nowhere else: a new
//! arrow is a change to `LAYERS`, to be argued for in `docs/ARCHITECTURE.md`.
#![allow(clippy::unwrap_used)]

#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/structure.rs"]
mod structure;
#[path = "tidy/text.rs"]
mod text;

use std::collections::BTreeSet;

use source::Source;

/// Room, and the rooms that it may name; arrows point downwards only.
const LAYERS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("cli", &["client", "config", "exit", "inspect", "limits", "logging", "origin", "server"]),
    ("inspect", &["exit", "progress", "sys", "tier"]),
    ("client", &["digest", "exit", "http", "limits", "progress"]),
    ("progress", &["limits"]),
    (
        "server",
        &[
            "access", "config", "control", "exit", "limits", "logging", "meters", "origin",
            "shard", "store", "sys", "tier", "topic",
        ],
    ),
    ("control", &["access", "config", "limits", "logging", "meters", "sys", "tier"]),
    (
        "shard",
        &[
            "access", "config", "digest", "http", "limits", "media", "meters", "origin", "store",
            "sys", "tier", "topic",
        ],
    ),
    ("tier", &["digest", "limits"]),
    ("origin", &["config", "http", "limits", "media", "meters", "store", "sys"]),
    ("store", &["http", "limits", "media", "sys"]),
    ("topic", &["limits", "sys"]),
    ("access", &["config", "http", "limits", "meters"]),
    ("exit", &[]),
    ("meters", &["limits", "sys"]),
    ("media", &["limits"]),
    ("http", &["limits"]),
    ("sys", &["limits", "meters"]),
    ("logging", &["config", "limits"]),
    ("config", &["limits"]),
    ("limits", &[]),
    ("digest", &[]),
    // Files for browsers, which `origin` has within it.
    ("web", &[]),
];

/// Words that are never named in the product code of the files `within`.
struct Absence {
    rule: &'static str,
    within: &'static [&'static str],
    except: &'static [&'static str],
    words: &'static [&'static str],
}

const ABSENCES: &[Absence] = &[
    Absence {
        rule: "these rooms see neither descriptors nor clocks nor the ring",
        within: &["src/http/", "src/media/", "src/store/", "src/origin/", "src/topic/"],
        except: &[],
        words: &[
            "io_uring",
            "libc",
            "socket2",
            "tokio",
            "std::fs",
            "std::net",
            "std::io",
            "std::os",
            "std::thread",
            "Instant::now",
            "SystemTime",
            "RawFd",
            "OwnedFd",
        ],
    },
    Absence {
        rule: "only the media room's callers allocate",
        within: &["src/media/"],
        except: &[],
        words: &["Vec", "String", "Box", "Arc", "Rc", "format!", "vec!", "to_vec", "to_owned"],
    },
    Absence {
        rule: "the ring is driven in `sys` only",
        within: &["src/"],
        except: &["src/sys/"],
        words: &["io_uring"],
    },
    Absence {
        rule: "a shard never blocks",
        within: &["src/shard/"],
        except: &[],
        words: &["std::fs", "TcpStream", "TcpListener", "thread::sleep", "SystemTime::now"],
    },
    Absence {
        rule: "files are touched in listed rooms only",
        within: &["src/"],
        except: &[
            "src/sys/",
            "src/config",
            "src/server",
            "src/cli",
            "src/control",
            "src/access",
            "src/inspect.rs",
            "src/client/",
        ],
        words: &["std::fs"],
    },
    Absence {
        rule: "no lock or atomic outside the listed files",
        within: &["src/"],
        except: &[
            "src/sys/",
            "src/store/growing.rs",
            "src/store/heat.rs",
            "src/meters",
            "src/access",
            "src/control",
            "src/server",
        ],
        words: &["Mutex", "RwLock", "Condvar", "Barrier", "atomic", "Atomic*"],
    },
    Absence {
        rule: "`unsafe` and raw pointers live in `sys` and the scanner",
        within: &["src/"],
        except: &["src/sys/", "src/http/scan.rs"],
        words: &["unsafe", "*const", "*mut", "NonNull"],
    },
];

/// Words in any text, with what to do instead.
const BANNED_TEXT: &[(&str, &str)] = &[
    (concat!("FIX", "ME"), "fix it, or open an issue"),
    (concat!("TO", "DO"), "do it, or open an issue"),
    (concat!("XX", "X"), "say what is meant"),
];

/// Words in code, with what to do instead.
const BANNED_CODE: &[(&str, &str)] = &[
    ("dbg!", "a leftover"),
    ("todo!", "do it"),
    ("unimplemented!", "do it, or return an error"),
    ("fn get_*", "a getter is named after what it returns"),
];

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Folders whose files are Cargo targets of their own.
const TARGET_ROOTS: &[&str] = &["src/bin/", "tests/", "benches/", "examples/"];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 90;
const LINE_COLUMNS_MAX: usize = 100;
const SCRIPT_LINES_MAX: usize = 60;

/// One line that breaks a rule.
struct Finding(String);

impl Finding {
    fn new(source: &Source, line: usize, rule: String) -> Self {
        Self(format!("{}:{line}: {rule}", source.path))
    }
}

fn findings_in(sources: &[Source]) -> Vec<String> {
    let mut paths: BTreeSet<String> = sources.iter().map(|source| source.path.clone()).collect();
    paths.insert("LICENSE".to_owned());
    let mut findings = Vec::new();
    for source in sources {
        structure::layers(source, &mut findings);
        structure::absences(source, &mut findings);
        structure::function_lengths(source, &mut findings);
        text::characters(source, &mut findings);
        text::banned_words(source, &mut findings);
        text::module_head(source, &mut findings);
        text::script(source, &mut findings);
        text::document(source, &paths, &mut findings);
    }
    structure::dead_files(sources, &mut findings);
    text::scripts_are_named(sources, &mut findings);
    findings.into_iter().map(|finding| finding.0).collect()
}

#[test]
fn the_tree_is_tidy() {
    let findings = findings_in(&source::read_tree());
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// What the rules say about one small file beside an otherwise tidy crate.
#[track_caller]
fn expect(path: &str, text: &str, expected: &[&str]) {
    let lib = "//! x\npub mod http;\npub mod shard;\nmod media;\nmod store;\n";
    let folder = "//! x\nmod a;\n";
    let sources = [
        Source::new("src/lib.rs", lib),
        Source::new("src/http/mod.rs", folder),
        Source::new("src/shard/mod.rs", folder),
        Source::new("README.md", "# Title\n\n`scripts/a`\n"),
        Source::new(path, text),
    ];
    assert_eq!(findings_in(&sources), expected, "{path}: {text}");
}

#[test]
fn arrows_point_down() {
    expect("src/shard/a.rs", "//! x\nuse crate::http::a;\nuse super::super::store;\n", &[]);
    expect("src/http/a.rs", "//! x\nuse super::b;\nuse crate::limits;\n", &[]);
    let up = ["src/http/a.rs:2: `http` must not name `shard`"];
    expect("src/http/a.rs", "//! x\nuse crate::shard::a;\n", &up);
    expect("src/http/a.rs", "//! x\nuse crate::{limits::{A, B}, shard};\n", &up);
    expect("src/http/a.rs", "//! x\nuse super::super::shard;\n", &up);
    expect("src/http/a.rs", "//! x\nfn a() { crate::shard::a() }\n", &up);
    expect("src/http/a.rs", "//! see crate::shard\n", &[]);
    expect("src/http/a.rs", "//! x\n#[cfg(test)]\nmod tests {\n    use crate::shard;\n}\n", &[]);
}

#[test]
fn absences_are_held() {
    expect(
        "src/http/a.rs",
        "//! x\nuse std::fs::File;\n",
        &[
            "src/http/a.rs:2: `std::fs` is named: these rooms see neither descriptors nor clocks \
             nor the ring",
            "src/http/a.rs:2: `std::fs` is named: files are touched in listed rooms only",
        ],
    );
    let rule = "no lock or atomic outside the listed files";
    let lock = format!("src/shard/a.rs:2: `Mutex` is named: {rule}");
    expect("src/shard/a.rs", "//! x\nstatic A: std::sync::Mutex<u8>;\n", &[lock.as_str()]);
    let atomic = format!("src/shard/a.rs:3: `Atomic*` is named: {rule}");
    expect("src/shard/a.rs", "//! x\n\nstatic A: AtomicU64;\n", &[atomic.as_str()]);
    let rule = "`unsafe` and raw pointers live in `sys` and the scanner";
    let block = format!("src/shard/a.rs:2: `unsafe` is named: {rule}");
    expect("src/shard/a.rs", "//! x\nfn a() { unsafe { b() } }\n", &[block.as_str()]);
    expect("src/shard/a.rs", "//! x\nfn a() { \"unsafe\"; 'u'; unsafe_code() } // unsafe\n", &[]);
}

#[test]
fn lengths_are_held() {
    let long = format!("//! x\nfn a() {{\n{}}}\n", "    b();\n".repeat(FUNCTION_LINES_MAX));
    expect("src/http/a.rs", &long, &["src/http/a.rs:2: `a` has 92 lines, at most 90"]);
    let long = format!("//! x\n{}", "// y\n".repeat(FILE_LINES_MAX));
    expect("src/http/a.rs", &long, &["src/http/a.rs:601: 601 lines, at most 600"]);
    let long = format!("//! {}\n", "y".repeat(LINE_COLUMNS_MAX));
    expect("src/http/a.rs", &long, &["src/http/a.rs:1: more than 100 columns"]);
}

#[test]
fn text_is_plain() {
    expect("src/http/a.rs", "//! \u{e9}\n", &["src/http/a.rs:1: a character outside ASCII"]);
    expect("src/http/a.rs", "//! x\n\t\n", &["src/http/a.rs:2: a tab or control character"]);
    expect("src/http/a.rs", "//! x \n", &["src/http/a.rs:1: a space at the end of the line"]);
    expect("src/http/a.rs", "//! x", &["src/http/a.rs:1: a file ends in exactly one line end"]);
    expect("src/http/a.rs", "mod b;\n", &["src/http/a.rs:1: a module opens with `//!`"]);
}

#[test]
fn words_are_banned() {
    expect(
        "src/http/a.rs",
        "//! x\nfn a() { dbg!(1) }\n",
        &["src/http/a.rs:2: `dbg!`: a leftover"],
    );
    expect(
        "src/http/a.rs",
        "//! x\nstruct RingManager;\n",
        &["src/http/a.rs:2: `Manager` in a name: say what it does"],
    );
    expect(
        "src/http/a.rs",
        "//! x\nfn get_it() {}\n",
        &["src/http/a.rs:2: `fn get_*`: a getter is named after what it returns"],
    );
    expect("src/http/a.rs", "//! x\nfn target_it(a: Utility) { \"Manager\"; }\n", &[]);
}

#[test]
fn dead_files_are_found() {
    expect("src/http/b.rs", "//! x\n", &["src/http/b.rs:1: no `mod` line reaches this file"]);
    expect("tests/b.rs", "//! x\n", &[]);
    expect("tests/b/c.rs", "//! x\n", &["tests/b/c.rs:1: no `mod` line reaches this file"]);
    expect("loadtest/src/main.rs", "//! x\n", &[]);
}

#[test]
fn scripts_are_short_and_named() {
    let head = "#!/usr/bin/env bash\n# Does it.\nset -euo pipefail\n";
    expect("scripts/a", head, &[]);
    expect("scripts/ab", head, &["scripts/ab:1: no document names this script"]);
    expect("scripts/a", "#!/bin/sh\n", &["scripts/a:1: a script is bash, or a program"]);
    let bare = "#!/usr/bin/env bash\nset -eu\n";
    let rules = [
        "scripts/a:1: the first comment says what and when",
        "scripts/a:1: `set -euo pipefail` is missing",
    ];
    expect("scripts/a", bare, &rules);
    let long = format!("{head}{}", ":\n".repeat(SCRIPT_LINES_MAX));
    expect("scripts/a", &long, &["scripts/a:63: 63 lines, at most 60"]);
}

#[test]
fn documents_have_a_title_and_working_links() {
    let good = "# A\n\n[b](../README.md) [c](#a) [d](https://x/y)\n```\n# no title\n```\n";
    expect("docs/A.md", good, &[]);
    expect("docs/A.md", "## A\n", &["docs/A.md:1: 0 titles, exactly one `# Title`"]);
    expect("docs/A.md", "# A\n[b](b.md)\n", &["docs/A.md:2: the link to `b.md` leads nowhere"]);
}

#[test]
fn literals_and_comments_are_blanked() {
    for (text, blanked) in [
        ("a \"b\\\"c\" d", "a \"    \" d"),
        ("a r#\"b\"c\"# d", "a r      # d"),
        ("a 'b' 'c: &'d e", "a ' ' 'c: &'d e"),
        ("a '\\'' b", "a '  ' b"),
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        ("for r in 0..1 { \"\" }", "for r in 0..1 { \"\" }"),
    ] {
        assert_eq!(source::blank(text), blanked, "{text}");
    }
}
