//! Rules about what stands where: layers, absences, dead files, lengths of functions.

use std::collections::BTreeSet;

use crate::source::Source;
use crate::{ABSENCES, FUNCTION_LINES_MAX, Finding, LAYERS, TARGET_ROOTS};

/// Every `crate::` and `super::` path, resolved to a room, follows the layering table.
pub fn layers(source: &Source, findings: &mut Vec<Finding>) {
    let Some(room) = source.room() else { return };
    if room == "lib" {
        return;
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == room) else {
        findings.push(Finding::new(source, 1, format!("room `{room}` is not in the table")));
        return;
    };
    for (offset, named) in rooms_named(source) {
        if named != room && !allowed.contains(&named.as_str()) {
            let line = source.line_of(offset);
            findings.push(Finding::new(source, line, format!("`{room}` must not name `{named}`")));
        }
    }
}

/// Rooms that the product code of a file names, with the place of each path.
fn rooms_named(source: &Source) -> Vec<(usize, String)> {
    let code = source.product();
    let own = source.module_path();
    let mut named = Vec::new();
    for start in ["crate::", "headwater::", "super::"] {
        for (offset, _) in code.match_indices(start) {
            if code[..offset].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let mut rest = &code[offset..];
            let mut depth = 0;
            while let Some(behind) = rest.strip_prefix("super::") {
                rest = behind;
                depth += 1;
            }
            let at_root = depth == 0 || depth == own.len();
            if depth == 0 {
                rest = &rest[start.len()..];
            }
            if at_root {
                named.extend(first_names(rest).into_iter().map(|name| (offset, name)));
            }
        }
    }
    named
}

/// The first name of a path, or of each path in a group.
fn first_names(rest: &str) -> Vec<String> {
    let name_of = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = rest.strip_prefix('{') else { return vec![name_of(rest)] };
    let mut names = vec![name_of(group)];
    let mut depth = 1;
    for (place, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(name_of(&group[place + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty() && name != "self");
    names
}

/// What a room, or a file, never names.
pub fn absences(source: &Source, findings: &mut Vec<Finding>) {
    for absence in ABSENCES {
        let is_here = absence.within.iter().any(|prefix| source.path.starts_with(prefix));
        if !is_here || absence.except.iter().any(|prefix| source.path.starts_with(prefix)) {
            continue;
        }
        for word in absence.words {
            for offset in words(source.product(), word) {
                let message = format!("`{word}` is named: {}", absence.rule);
                findings.push(Finding::new(source, source.line_of(offset), message));
            }
        }
    }
}

/// Places at which `word` stands; its ends must be ends of names, unless it ends in `*`.
pub fn words(code: &str, word: &str) -> Vec<usize> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (needle, is_open) = word.strip_suffix('*').map_or((word, false), |needle| (needle, true));
    let closes =
        |end: usize| is_open || !needle.ends_with(is_name) || !code[end..].starts_with(is_name);
    code.match_indices(needle)
        .map(|(offset, _)| offset)
        .filter(|&offset| !needle.starts_with(is_name) || !code[..offset].ends_with(is_name))
        .filter(|&offset| closes(offset + needle.len()))
        .collect()
}

/// No function is longer than a person can hold in mind.
pub fn function_lengths(source: &Source, findings: &mut Vec<Finding>) {
    for offset in words(&source.code, "fn") {
        let behind = &source.code[offset..];
        let Some(open) = behind.find(['{', ';']) else { continue };
        if behind.as_bytes()[open] == b';' || !behind[2..].starts_with(' ') {
            continue;
        }
        let lines = behind[..body_end(behind, open)].lines().count();
        if lines > FUNCTION_LINES_MAX {
            let name: String =
                behind[3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let message = format!("`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}");
            findings.push(Finding::new(source, source.line_of(offset), message));
        }
    }
}

fn body_end(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (place, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return place + 1;
        }
    }
    code.len()
}

/// Every source file is reached from a target by `mod` lines.
pub fn dead_files(sources: &[Source], findings: &mut Vec<Finding>) {
    let files: BTreeSet<&str> =
        sources.iter().map(|source| source.path.as_str()).filter(|p| p.ends_with(".rs")).collect();
    let mut waiting: Vec<&str> = files.iter().copied().filter(|path| is_target(path)).collect();
    let mut reached: BTreeSet<&str> = waiting.iter().copied().collect();
    while let Some(path) = waiting.pop() {
        let source = sources.iter().find(|source| source.path == path).unwrap();
        for child in children(source) {
            if let Some(&file) = files.get(child.as_str())
                && reached.insert(file)
            {
                waiting.push(file);
            }
        }
    }
    for source in sources.iter().filter(|source| files.contains(source.path.as_str())) {
        if !reached.contains(source.path.as_str()) {
            findings.push(Finding::new(source, 1, "no `mod` line reaches this file".to_owned()));
        }
    }
}

/// Roots of Cargo targets: fixed names, and files directly in a folder of targets.
fn is_target(path: &str) -> bool {
    let path = path.strip_prefix("loadtest/").unwrap_or(path);
    matches!(path, "src/main.rs" | "src/lib.rs" | "build.rs")
        || TARGET_ROOTS.iter().any(|folder| {
            path.strip_prefix(folder).is_some_and(|name| {
                !name.contains('/')
                    || (name.ends_with("/main.rs") && name.matches('/').count() == 1)
            })
        })
}

/// Files that the `mod` lines of a file may mean.
fn children(source: &Source) -> Vec<String> {
    let (folder, name) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let owns_folder = matches!(name, "mod.rs" | "lib.rs" | "main.rs") || is_target(&source.path);
    let base = if owns_folder {
        folder.to_owned()
    } else {
        format!("{folder}/{}", name.trim_end_matches(".rs"))
    };
    let mut files = Vec::new();
    let mut path_line = None;
    for line in source.text.lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = \"") {
            path_line = path.strip_suffix("\"]").map(|path| format!("{folder}/{path}"));
            continue;
        }
        let item = line
            .split_once("mod ")
            .filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        if let Some(name) = item.and_then(|(_, rest)| rest.strip_suffix(';')) {
            files.push(format!("{base}/{name}.rs"));
            files.push(format!("{base}/{name}/mod.rs"));
            files.extend(path_line.take());
        }
    }
    files
}
