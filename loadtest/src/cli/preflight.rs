//! One request to each target before a run: a dead target is a sentence, not a report of errors.
//!
//! Asks once for the first URLs, when their method changes nothing; otherwise it only connects.
//! Whether bodies are large decides how the engine receives them.

use std::collections::HashSet;
use std::time::Duration;

use super::exit::Failure;
use crate::engine::Plan;
use crate::engine::source::Source;
use crate::http::{Client, Error, Request};
use crate::limits::{BULK_BYTES_MIN, CONNECT_TIMEOUT, PREFLIGHT_URLS_MAX};

/// Asks; the error is the sentence to end with.
pub fn ask(plan: &mut Plan) -> anyhow::Result<()> {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(64)
        .enable_timer()
        .build()?;
    let mut asked = HashSet::new();
    for (place, source) in plan.sources.iter().enumerate() {
        if !asked.insert(source.target) && place >= PREFLIGHT_URLS_MAX {
            continue;
        }
        let url = source.example().to_string();
        match runtime.block_on(one(plan, source)) {
            Ok((status, size)) if (200..400).contains(&status) => {
                plan.targets[source.target].bulk |= size >= BULK_BYTES_MIN;
            }
            Ok((status, _)) => {
                return Err(Failure::Unusable(format!(
                    "{url}: the server answers with status {status}"
                ))
                .into());
            }
            Err(error) => return Err(Failure::of_request(&url, &error).into()),
        }
    }
    Ok(())
}

/// The status of the answer and the size of its body.
async fn one(plan: &Plan, source: &Source) -> Result<(u16, u64), Error> {
    let within = CONNECT_TIMEOUT.min(plan.timeout.max(Duration::from_millis(100)));
    let mut client = Client::connect(plan.targets[source.target].address, within).await?;
    if !matches!(source.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
        return Ok((200, 0));
    }
    let url = source.example();
    let request = Request {
        method: &source.method,
        path: &url.path,
        host: &url.authority,
        headers: &source.headers,
        body: &source.body,
    };
    let mut response = client.request(&request, plan.timeout).await?;
    let status = response.status();
    Ok((status, response.discard().await?))
}
