//! Who may do what: the credentials there are, what needs one, and from where.
//!
//! **Invariants**: a right that any credential grants is for holders of credentials only, unless
//! the configuration says otherwise; nothing here holds a secret in plain text but the keys that
//! sign URLs and requests.

use super::mediastore::{AwsKey, MediaStore};
use super::momento::Momento;
use super::network::{Network, Networks};
use super::rights::Right;
use super::signing::UrlKey;
use super::token::Tokens;

/// Who may use a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody. For a right that changes something: everybody but web pages (`Origin`), since
    /// any page the operator visits could send the request.
    Anyone,
    /// Whoever presents a credential that grants it.
    Token,
    /// Nobody.
    Nobody,
}

/// The credentials, and what needs one where no path says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Tokens with their rights.
    pub tokens: Tokens,
    /// Keys that sign URLs.
    pub url_keys: Vec<UrlKey>,
    /// How the dialect of MediaStore is spoken, where it is.
    pub mediastore: Option<MediaStore>,
    /// Keys that sign requests of that dialect.
    pub aws_keys: Vec<AwsKey>,
    /// How the dialect of Momento is spoken, where it is.
    pub momento: Option<Momento>,
    /// For each [`Right`].
    defaults: [Who; Right::ALL.len()],
}

impl Default for Access {
    fn default() -> Self {
        let defaults = [Who::Anyone; Right::ALL.len()];
        Self {
            tokens: Tokens::default(),
            url_keys: Vec::new(),
            mediastore: None,
            aws_keys: Vec::new(),
            momento: None,
            defaults,
        }
    }
}

impl Access {
    /// Who may use a right where no path says otherwise.
    pub fn who(&self, right: Right) -> Who {
        self.defaults[right as usize]
    }

    /// Whether any credential grants the right.
    pub fn grants(&self, right: Right) -> bool {
        let by_url = |key: &UrlKey| match right.changes() {
            true => key.methods.changes(),
            false => key.methods.reads(),
        };
        self.tokens.iter().any(|token| token.has(right))
            || self.url_keys.iter().any(by_url)
            || self.aws_keys.iter().any(|key| key.has(right))
    }

    /// Sets the defaults: what a credential grants needs one, except for reads where `reads` says
    /// otherwise.
    pub(super) fn close(&mut self, reads: Option<Who>) {
        self.defaults = Right::ALL.map(|right| match self.grants(right) {
            true => Who::Token,
            false => Who::Anyone,
        });
        if let Some(who) = reads {
            self.defaults[Right::Read as usize] = who;
        }
    }
}

/// What one rule of a path says of access to its keys; `None`: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathAccess {
    /// Who may read.
    pub read: Option<Who>,
    /// Who may store, replace and delete.
    pub write: Option<Who>,
    /// The only networks that may read.
    pub read_allow: Option<Vec<Network>>,
    /// Networks that may not.
    pub read_deny: Option<Vec<Network>>,
    /// The only networks that may write.
    pub write_allow: Option<Vec<Network>>,
    /// Networks that may not.
    pub write_deny: Option<Vec<Network>>,
}

/// What all rules together say of a right on one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Door<'r> {
    /// Who may use it; `None`: as everywhere.
    pub who: Option<Who>,
    /// From where.
    pub networks: Networks<'r>,
}

impl PathAccess {
    /// Whether it keeps anybody from reading.
    pub fn guards_reads(&self) -> bool {
        self.read.is_some_and(|who| who != Who::Anyone)
            || [&self.read_allow, &self.read_deny]
                .into_iter()
                .flatten()
                .any(|list| !list.is_empty())
    }

    /// Who may use a right, if it says so. Topics are not paths.
    pub fn who(&self, right: Right) -> Option<Who> {
        match right {
            Right::Read => self.read,
            Right::Publish => self.write,
            Right::TopicPublish | Right::TopicSubscribe => None,
        }
    }

    /// The only networks that may use a right, if it says so.
    pub fn allow(&self, right: Right) -> Option<&[Network]> {
        match right {
            Right::Read => self.read_allow.as_deref(),
            Right::Publish => self.write_allow.as_deref(),
            Right::TopicPublish | Right::TopicSubscribe => None,
        }
    }

    /// The networks that may not use a right, if it says so.
    pub fn deny(&self, right: Right) -> Option<&[Network]> {
        match right {
            Right::Read => self.read_deny.as_deref(),
            Right::Publish => self.write_deny.as_deref(),
            Right::TopicPublish | Right::TopicSubscribe => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_credential_grants_needs_one() {
        let mut access = Access::default();
        access.close(None);
        assert!(Right::ALL.iter().all(|&right| access.who(right) == Who::Anyone));
        let rights = [Right::Publish, Right::TopicPublish];
        access.tokens.add_line("0123456789abcdef", "publish", &rights).unwrap();
        access.close(None);
        assert_eq!(access.who(Right::Publish), Who::Token);
        assert_eq!(access.who(Right::TopicPublish), Who::Token);
        assert_eq!(access.who(Right::Read), Who::Anyone);
        assert_eq!(access.who(Right::TopicSubscribe), Who::Anyone);
        access.url_keys.push(UrlKey::new("k", "0123456789abcdef").unwrap());
        access.close(None);
        assert_eq!(access.who(Right::Read), Who::Token);
        access.close(Some(Who::Anyone));
        assert_eq!(access.who(Right::Read), Who::Anyone);
    }
}
