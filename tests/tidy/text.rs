//! Rules about text: characters, lengths, words, module heads, scripts and documents.

use std::collections::BTreeSet;

use crate::source::Source;
use crate::structure::words;
use crate::{
    BANNED_CODE, BANNED_TEXT, FILE_LINES_MAX, Finding, LINE_COLUMNS_MAX, LONG_FILES,
    SCRIPT_LINES_MAX,
};

/// ASCII only, no tab, no trailing space, no overlong line or file.
pub fn characters(source: &Source, findings: &mut Vec<Finding>) {
    let is_rust = source.path.ends_with(".rs");
    let mut count = 0;
    for (index, line) in source.text.split('\n').enumerate() {
        count = index + 1;
        let mut note = |rule: &str| findings.push(Finding::new(source, count, rule.to_owned()));
        if !line.is_ascii() {
            note("a character outside ASCII");
        }
        if line.bytes().any(|byte| byte.is_ascii_control()) {
            note("a tab or control character");
        }
        if line.ends_with(' ') {
            note("a space at the end of the line");
        }
        if is_rust && line.len() > LINE_COLUMNS_MAX {
            note("more than 100 columns");
        }
    }
    if !source.text.ends_with('\n') || source.text.ends_with("\n\n") {
        let rule = "a file ends in exactly one line end".to_owned();
        findings.push(Finding::new(source, count, rule));
    }
    let lines = source.text.lines().count();
    let is_excused = LONG_FILES.iter().any(|(path, _)| *path == source.path);
    if is_rust && lines > FILE_LINES_MAX && !is_excused {
        let message = format!("{lines} lines, at most {FILE_LINES_MAX}");
        findings.push(Finding::new(source, lines, message));
    }
}

/// Words that have a better replacement.
pub fn banned_words(source: &Source, findings: &mut Vec<Finding>) {
    for (word, instead) in BANNED_TEXT {
        for offset in words(&source.text, word) {
            let message = format!("`{word}`: {instead}");
            findings.push(Finding::new(source, source.line_of(offset), message));
        }
    }
    if !source.path.ends_with(".rs") {
        return;
    }
    for (word, instead) in BANNED_CODE {
        for offset in words(&source.code, word) {
            let message = format!("`{word}`: {instead}");
            findings.push(Finding::new(source, source.line_of(offset), message));
        }
    }
    for noun in ["Manager", "Helper", "Util"] {
        for (offset, _) in source.code.match_indices(noun) {
            let before = source.code[..offset].chars().next_back().unwrap_or(' ');
            let after = source.code[offset + noun.len()..].chars().next().unwrap_or(' ');
            if (before.is_alphanumeric() || !after.is_alphanumeric()) && !after.is_lowercase() {
                let message = format!("`{noun}` in a name: say what it does");
                findings.push(Finding::new(source, source.line_of(offset), message));
            }
        }
    }
}

/// Every module opens with its duty.
pub fn module_head(source: &Source, findings: &mut Vec<Finding>) {
    if source.path.ends_with(".rs") && !source.text.starts_with("//! ") {
        findings.push(Finding::new(source, 1, "a module opens with `//!`".to_owned()));
    }
}

/// Scripts are short, strict, and say what they are for.
pub fn script(source: &Source, findings: &mut Vec<Finding>) {
    let is_bash = source.text.starts_with("#!/usr/bin/env bash\n") || source.path.ends_with(".sh");
    if !is_bash {
        if source.path.starts_with("scripts/") || source.path.starts_with(".ci/") {
            findings.push(Finding::new(source, 1, "a script is bash, or a program".to_owned()));
        }
        return;
    }
    let lines = source.text.lines().count();
    if lines > SCRIPT_LINES_MAX {
        let message = format!("{lines} lines, at most {SCRIPT_LINES_MAX}");
        findings.push(Finding::new(source, lines, message));
    }
    let head = source.text.lines().find(|line| !line.starts_with("#!"));
    if !head.is_some_and(|line| line.starts_with("# ")) {
        let message = "the first comment says what and when".to_owned();
        findings.push(Finding::new(source, 1, message));
    }
    if !source.text.lines().any(|line| line == "set -euo pipefail") {
        findings.push(Finding::new(source, 1, "`set -euo pipefail` is missing".to_owned()));
    }
}

/// Every script is named in the README or in a document.
pub fn scripts_are_named(sources: &[Source], findings: &mut Vec<Finding>) {
    let mut documents = String::new();
    for source in sources.iter().filter(|source| source.path.ends_with(".md")) {
        documents.push_str(&source.text);
    }
    for source in sources.iter().filter(|source| source.path.starts_with("scripts/")) {
        if words(&documents, &source.path).is_empty() {
            let message = "no document names this script".to_owned();
            findings.push(Finding::new(source, 1, message));
        }
    }
}

/// A document has one title, and its links to files of the tree resolve.
pub fn document(source: &Source, paths: &BTreeSet<String>, findings: &mut Vec<Finding>) {
    if !source.path.ends_with(".md") {
        return;
    }
    let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut titles = 0;
    let mut is_fenced = false;
    for (index, line) in source.text.lines().enumerate() {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
        }
        if is_fenced {
            continue;
        }
        titles += usize::from(line.starts_with("# "));
        for (place, _) in line.match_indices("](") {
            let link = line[place + 2..].split([')', '#']).next().unwrap_or_default();
            let is_outside = link.is_empty() || link.contains("://") || link.starts_with("mailto:");
            if !is_outside && !resolves(folder, link, paths) {
                let message = format!("the link to `{link}` leads nowhere");
                findings.push(Finding::new(source, index + 1, message));
            }
        }
    }
    if titles != 1 {
        let message = format!("{titles} titles, exactly one `# Title`");
        findings.push(Finding::new(source, 1, message));
    }
}

fn resolves(folder: &str, link: &str, paths: &BTreeSet<String>) -> bool {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    let path = parts.join("/");
    let below = format!("{path}/");
    paths.contains(&path) || paths.iter().any(|known| known.starts_with(&below))
}
