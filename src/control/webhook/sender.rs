//! The task of one webhook: one message at a time, attempts with pauses, and what is counted.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use xxhash_rust::xxh3::xxh3_64;

use super::delivery::{Message, may_pass, post};
use super::signature::{id, signatures};
use super::{Hook, Notice};
use crate::limits;

/// What one attempt came to.
enum Attempt {
    Delivered,
    /// Another attempt may go better.
    Failed(String),
    /// No other attempt will.
    Refused(String),
}

/// Sends until the queue is closed, or, once `finishing` is true, until it is empty.
pub async fn run(mut hook: Hook, mut finishing: watch::Receiver<bool>) {
    let mut is_failing = false;
    loop {
        let next = tokio::select! {
            biased;
            next = hook.queue.recv() => next,
            _ = finishing.wait_for(|finishing| *finishing) => hook.queue.try_recv().ok(),
        };
        let Some(notice) = next else { return };
        let outcome = deliver(&hook, &notice, &mut finishing).await;
        hook.meters.release(notice.bytes());
        match outcome {
            Ok(()) => {
                hook.meters.delivered.fetch_add(1, Relaxed);
                if std::mem::take(&mut is_failing) {
                    tracing::info!(rule = hook.meters.label(), "the webhook takes messages again");
                }
            }
            Err(reason) => {
                hook.meters.dead.fetch_add(1, Relaxed);
                if !std::mem::replace(&mut is_failing, true) {
                    let rule = hook.meters.label();
                    tracing::warn!(rule, reason, "a webhook does not take messages; they are lost");
                }
            }
        }
    }
}

/// All attempts at one message; the reason of the last one when it is a dead letter.
async fn deliver(
    hook: &Hook,
    notice: &Notice,
    finishing: &mut watch::Receiver<bool>,
) -> Result<(), String> {
    let (id, body) = (id(notice), body(notice));
    let mut attempt = 0;
    loop {
        let reason = match try_once(hook, &id, &body).await {
            Attempt::Delivered => return Ok(()),
            Attempt::Failed(reason) => reason,
            Attempt::Refused(reason) => {
                hook.meters.failed.fetch_add(1, Relaxed);
                return Err(reason);
            }
        };
        hook.meters.failed.fetch_add(1, Relaxed);
        attempt += 1;
        if attempt == limits::WEBHOOK_ATTEMPTS_MAX || *finishing.borrow() {
            return Err(reason);
        }
        tokio::select! {
            () = sleep(pause(&id, attempt)) => {}
            // One attempt more, and then no other.
            _ = finishing.wait_for(|finishing| *finishing) => {}
        }
    }
}

async fn try_once(hook: &Hook, id: &str, body: &[u8]) -> Attempt {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let timestamp_s = since.as_secs();
    let signatures = signatures(&hook.webhook.secrets, id, timestamp_s, body);
    let message = Message { id, timestamp_s, signatures, body };
    let within = Duration::from_millis(hook.webhook.timeout_ms);
    match timeout(within, post(&hook.webhook, &message)).await {
        Ok(Ok(status)) if status.is_success() => Attempt::Delivered,
        Ok(Ok(status)) if may_pass(status) => Attempt::Failed(format!("answered {status}")),
        Ok(Ok(status)) => Attempt::Refused(format!("answered {status}")),
        Ok(Err(reason)) => Attempt::Failed(reason),
        Err(_) => Attempt::Failed(format!("no answer within {} ms", within.as_millis())),
    }
}

/// The same object that a WebSocket's subscriber gets.
fn body(notice: &Notice) -> Vec<u8> {
    let topic = Json::from(String::from_utf8_lossy(&notice.topic)).to_string();
    [b"{\"topic\":", topic.as_bytes(), b",\"item\":", &notice.json, b"}"].concat()
}

/// The pause behind attempt `attempt` (from 1): doubled each time, and between three quarters and
/// five quarters of that, so that receivers that come back are not met by all at once.
fn pause(id: &str, attempt: u32) -> Duration {
    let whole_ms = limits::WEBHOOK_PAUSE_MS << (attempt - 1);
    let spread_ms = (xxh3_64(id.as_bytes()) >> attempt) % (whole_ms / 2);
    Duration::from_millis(whole_ms * 3 / 4 + spread_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_their_bounds() {
        for attempt in 1..limits::WEBHOOK_ATTEMPTS_MAX {
            let whole = Duration::from_millis(limits::WEBHOOK_PAUSE_MS << (attempt - 1));
            for number in 0..100 {
                let pause = pause(&number.to_string(), attempt);
                assert!(pause >= whole * 3 / 4 && pause < whole * 5 / 4, "{attempt}: {pause:?}");
            }
        }
    }

    #[test]
    fn the_body_is_json_whatever_the_name() {
        let notice = Notice {
            topic: (*b"a/\"b").into(),
            number: 7,
            published_ms: 1,
            json: (*b"{\"value\":{\"text\":\"x\"}}").into(),
        };
        let json: Json = serde_json::from_slice(&body(&notice)).unwrap();
        assert_eq!(
            (&json["topic"], &json["item"]["value"]["text"]),
            (&"a/\"b".into(), &"x".into())
        );
    }
}
