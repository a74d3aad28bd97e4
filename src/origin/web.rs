//! Files for web pages that are part of the program: the client of topics, and its demo.
//!
//! They lie directly below `/topics/`, where no topic can be: its name has two parts at least.

/// A file of the program.
pub struct File {
    /// Where it is served.
    pub path: &'static str,
    /// Value of Content-Type.
    pub content_type: &'static [u8],
    /// The whole body.
    pub body: &'static [u8],
    /// A hash of the body, the same wherever the same version runs.
    tag: u64,
}

impl File {
    const fn new(path: &'static str, content_type: &'static [u8], body: &'static [u8]) -> Self {
        Self { path, content_type, body, tag: fnv1a(body) }
    }

    /// Strong entity tag with its quotes.
    pub fn etag(&self) -> String {
        format!("\"{:016x}\"", self.tag)
    }
}

/// Value of Cache-Control: a page that is opened again asks after five minutes.
pub const CACHE_CONTROL: &[u8] = b"public, max-age=300";

static FILES: [File; 3] = [
    File::new(
        "/topics/headwater.js",
        b"text/javascript; charset=utf-8",
        include_bytes!("../web/headwater.js"),
    ),
    File::new("/topics/demo", b"text/html; charset=utf-8", include_bytes!("../web/demo.html")),
    File::new(
        "/topics/demo.js",
        b"text/javascript; charset=utf-8",
        include_bytes!("../web/demo.js"),
    ),
];

/// The file that a path names.
pub fn file(path: &[u8]) -> Option<&'static File> {
    FILES.iter().find(|file| file.path.as_bytes() == path)
}

/// FNV-1a with 64 bits, made when the program is compiled.
const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_their_whole_path() {
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        let client = file(b"/topics/headwater.js").unwrap();
        assert!(client.body.starts_with(b"// ") && client.etag().len() == 18);
        assert!(file(b"/topics/headwater").is_none());
        for one in &FILES {
            assert_eq!(one.path.bytes().filter(|&byte| byte == b'/').count(), 2, "{}", one.path);
        }
    }
}
