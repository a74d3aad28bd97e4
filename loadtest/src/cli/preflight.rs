//! One request to each target before a run: a dead target is a sentence, not a report of errors.
//!
//! Asks once for the first URL of each target, when its method changes nothing; otherwise it only
//! connects.

use std::collections::HashSet;
use std::time::Duration;

use super::exit::Failure;
use crate::engine::Plan;
use crate::engine::source::Source;
use crate::http::{Client, Error, Request};
use crate::limits::CONNECT_TIMEOUT;

/// Asks; the error is the sentence to end with.
pub fn ask(plan: &Plan) -> anyhow::Result<()> {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(64)
        .enable_timer()
        .build()?;
    let mut asked = HashSet::new();
    for source in &plan.sources {
        if asked.insert(source.target) {
            let url = source.example().to_string();
            let result = runtime.block_on(one(plan, source));
            match result {
                Ok(status) if (200..400).contains(&status) => {}
                Ok(status) => {
                    return Err(Failure::Unusable(format!(
                        "{url}: the server answers with status {status}"
                    ))
                    .into());
                }
                Err(error) => return Err(Failure::of_request(&url, &error).into()),
            }
        }
    }
    Ok(())
}

async fn one(plan: &Plan, source: &Source) -> Result<u16, Error> {
    let within = CONNECT_TIMEOUT.min(plan.timeout.max(Duration::from_millis(100)));
    let mut client = Client::connect(plan.targets[source.target].address, within).await?;
    if !matches!(source.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
        return Ok(200);
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
    response.discard().await?;
    Ok(status)
}
