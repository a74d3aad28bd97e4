//! The keys of a topic's rule that name a webhook.

use std::path::Path;

use super::{Section, integer, text};
use crate::config::secret;
use crate::config::webhook::{HookUrl, Webhook, secrets};
use crate::limits;

/// The webhook of a rule, if it names one; mistakes are noted.
pub(super) fn read(section: &mut Section<'_>, warnings: &mut Vec<String>) -> Option<Webhook> {
    let url = section.read("webhook_url", |value| HookUrl::parse(text(value)?));
    let file = section.read("webhook_secret_file", |value| text(value).map(str::to_owned));
    let timeout_ms = section
        .read("webhook_timeout_ms", |value| integer(value, 100, limits::WEBHOOK_TIMEOUT_MS_MAX));
    let (has_url, has_file) = (section.has("webhook_url"), section.has("webhook_secret_file"));
    match (has_url, has_file) {
        (true, false) => {
            let reason = "is missing: a webhook is signed; name a file with its secret";
            section.wrong("webhook_secret_file", reason.to_owned());
        }
        (false, true) => {
            section.wrong("webhook_secret_file", "has no effect without webhook_url".to_owned());
        }
        _ => {}
    }
    if section.has("webhook_timeout_ms") && !has_url {
        section.wrong("webhook_timeout_ms", "has no effect without webhook_url".to_owned());
    }
    let path = section.document.beside(Path::new(&file?));
    let found = secret::read_file(&path, warnings)
        .and_then(|text| secrets(&text).map_err(|why| format!("{} {why}", path.display())));
    match found {
        Ok(secrets) => {
            let timeout_ms = timeout_ms.unwrap_or(limits::WEBHOOK_TIMEOUT_MS);
            Some(Webhook { url: url?, secrets, timeout_ms })
        }
        Err(reason) => {
            section.wrong("webhook_secret_file", reason);
            None
        }
    }
}
