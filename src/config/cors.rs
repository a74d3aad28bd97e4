//! CORS: which web pages may read an answer, as header lines that are made once.
//!
//! A rule is compiled into the lines that an answer gets, one set for each allowed origin, so that
//! a request only chooses between them.
//!
//! **Invariants**: an answer that depends on `Origin` says so (`Vary`), whatever the origin was;
//! an origin that is not listed gets no line that lets it read; nothing is allocated per request.

use std::fmt::Write;

/// What a rule says; every part has a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsRule {
    /// Origins as browsers send them (`https://player.example`), or `*` alone; none: no page.
    pub origins: Vec<String>,
    /// Methods for preflights.
    pub methods: Vec<String>,
    /// Request headers for preflights.
    pub headers: Vec<String>,
    /// Answer headers that pages may look at.
    pub expose: Vec<String>,
    /// How long browsers may remember a preflight, in seconds.
    pub max_age_s: u32,
}

impl Default for CorsRule {
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
        Self {
            origins: words(&["*"]),
            methods: words(&["GET", "HEAD", "OPTIONS"]),
            // The star does not stand for Authorization (fetch standard, section 3.2.3).
            headers: words(&["*", "Authorization"]),
            expose: words(&["*"]),
            max_age_s: 86_400,
        }
    }
}

/// The lines for answers to one origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// For every answer.
    pub answer: Box<[u8]>,
    /// For the answer to a preflight.
    pub preflight: Box<[u8]>,
}

/// A rule, compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// Origins that are allowed by name, each with its lines.
    listed: Vec<(Box<[u8]>, Lines)>,
    /// For every other origin, and for requests without one.
    others: Lines,
}

impl Cors {
    /// No page may read.
    pub fn closed() -> Self {
        Self::default()
    }

    /// Compiles a rule whose parts were checked.
    pub fn new(rule: &CorsRule) -> Self {
        if rule.origins.iter().any(|origin| origin == "*") {
            return Self { listed: Vec::new(), others: Lines::new("*", "", rule) };
        }
        if rule.origins.is_empty() {
            return Self::closed();
        }
        let listed = rule
            .origins
            .iter()
            .map(|origin| (origin.as_bytes().into(), Lines::new(origin, "Vary: Origin\r\n", rule)));
        let vary: Box<[u8]> = (*b"Vary: Origin\r\n").into();
        let others = Lines { answer: vary.clone(), preflight: vary };
        Self { listed: listed.collect(), others }
    }

    /// The origins that may read, for people.
    pub fn origins(&self) -> String {
        let listed: Vec<_> =
            self.listed.iter().map(|(origin, _)| String::from_utf8_lossy(origin)).collect();
        match listed.is_empty() {
            false => listed.join(", "),
            true if self.others.answer.is_empty() => "no page".to_owned(),
            true => "*".to_owned(),
        }
    }

    /// Which lines an answer to a request with this `Origin` gets.
    pub fn choose(&self, origin: Option<&[u8]>) -> u16 {
        let named = origin
            .and_then(|origin| self.listed.iter().position(|(listed, _)| **listed == *origin));
        named.map_or(0, |number| u16::try_from(number + 1).unwrap_or(0))
    }

    /// The lines that were chosen.
    pub fn lines(&self, choice: u16) -> &Lines {
        let listed = usize::from(choice).checked_sub(1).and_then(|number| self.listed.get(number));
        listed.map_or(&self.others, |(_, lines)| lines)
    }
}

impl Lines {
    fn new(origin: &str, vary: &str, rule: &CorsRule) -> Self {
        let allow = format!("Access-Control-Allow-Origin: {origin}\r\n{vary}");
        let mut answer = allow.clone();
        if !rule.expose.is_empty() {
            let expose = rule.expose.join(", ");
            let _ = write!(answer, "Access-Control-Expose-Headers: {expose}\r\n");
        }
        let mut preflight = allow;
        for (name, list) in [("Methods", &rule.methods), ("Headers", &rule.headers)] {
            if !list.is_empty() {
                let _ = write!(preflight, "Access-Control-Allow-{name}: {}\r\n", list.join(", "));
            }
        }
        let _ = write!(preflight, "Access-Control-Max-Age: {}\r\n", rule.max_age_s);
        Self { answer: answer.into_bytes().into(), preflight: preflight.into_bytes().into() }
    }
}

/// Checks an origin: `*`, or scheme, host and perhaps port as browsers send them.
//= RFC 6454 section 6.2
pub(super) fn check_origin(text: &str) -> Result<(), String> {
    if text == "*" {
        return Ok(());
    }
    let wrong = |why: &str| {
        Err(format!("{why}; write an origin as browsers send it, such as https://player.example"))
    };
    let Some((scheme, authority)) = text.split_once("://") else {
        return wrong("has no scheme");
    };
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return wrong("has a scheme that is not in lower case letters");
    }
    if authority.contains('*') {
        return wrong("has a star, which stands alone or not at all");
    }
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
    if authority.is_empty() || !authority.bytes().all(plain) {
        return wrong("is not only a lower case host and perhaps a port, without a path");
    }
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return Ok(()),
    };
    if authority.ends_with(default) {
        return wrong("names the scheme's own port, which browsers leave out");
    }
    Ok(())
}

/// Checks the name of a method or a header, or `*`.
//= RFC 9110 section 5.6.2
pub(super) fn check_token(text: &str) -> Result<(), String> {
    let is_token = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    match is_token {
        true => Ok(()),
        false => Err("is not a name: letters, digits and !#$%&'*+-.^_`|~".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &[u8]) -> &str {
        std::str::from_utf8(lines).unwrap()
    }

    #[test]
    fn the_default_lets_every_page_read() {
        let cors = Cors::new(&CorsRule::default());
        for origin in [None, Some(&b"https://a.example"[..])] {
            let lines = cors.lines(cors.choose(origin));
            assert_eq!(
                text(&lines.answer),
                "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\n"
            );
            assert_eq!(
                text(&lines.preflight),
                "Access-Control-Allow-Origin: *\r\n\
                 Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n\
                 Access-Control-Allow-Headers: *, Authorization\r\n\
                 Access-Control-Max-Age: 86400\r\n"
            );
        }
    }

    #[test]
    fn listed_origins_are_answered_by_name_and_caches_are_told() {
        let origins = ["https://a.example", "http://b.example:8080"].map(str::to_owned).to_vec();
        let rule = CorsRule { origins, expose: vec!["ETag".to_owned()], ..CorsRule::default() };
        let cors = Cors::new(&rule);
        assert_eq!(
            text(&cors.lines(cors.choose(Some(b"http://b.example:8080"))).answer),
            "Access-Control-Allow-Origin: http://b.example:8080\r\nVary: Origin\r\n\
             Access-Control-Expose-Headers: ETag\r\n"
        );
        for origin in [None, Some(&b"https://a.example.evil"[..]), Some(b"null"), Some(b"")] {
            assert_eq!(text(&cors.lines(cors.choose(origin)).answer), "Vary: Origin\r\n");
            assert_eq!(text(&cors.lines(cors.choose(origin)).preflight), "Vary: Origin\r\n");
        }
        assert_eq!(*Cors::closed().lines(1), Lines::default());
        let none = CorsRule { origins: vec![], ..CorsRule::default() };
        assert_eq!(Cors::new(&none), Cors::closed());
    }

    #[test]
    fn origins_and_names_are_checked() {
        for good in ["*", "https://a.example", "http://a.example:8080", "app://x"] {
            assert_eq!(check_origin(good), Ok(()), "{good}");
        }
        for (bad, words) in [
            ("a.example", "no scheme"),
            ("HTTPS://a.example", "lower case letters"),
            ("https://A.example", "lower case host"),
            ("https://a.example/", "without a path"),
            ("https://*.example", "star"),
            ("https://a.example:443", "own port"),
            ("http://a.example:80", "own port"),
            ("https://", "lower case host"),
            ("https://a\r\nX: y", "lower case host"),
        ] {
            let reason = check_origin(bad).unwrap_err();
            assert!(reason.contains(words), "{bad}: {reason}");
        }
        assert!(check_token("X-A_b").is_ok() && check_token("*").is_ok());
        for bad in ["", "a b", "a:b", "a\r\n"] {
            assert!(check_token(bad).is_err(), "{bad}");
        }
    }
}
