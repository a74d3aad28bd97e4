//! One attempt: connect, POST, look at the status. A connection carries one request.

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use axum::http::{Request, StatusCode};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::Webhook;

/// What is sent, with its headers.
pub struct Message<'a> {
    /// The message's id.
    pub id: &'a str,
    /// When this attempt is made, in Unix seconds.
    pub timestamp_s: u64,
    /// The signatures of both, and of the body.
    pub signatures: String,
    /// JSON.
    pub body: &'a [u8],
}

/// Why an attempt failed, in words for the log.
pub type Reason = String;

/// Sends a message; the status of the answer.
///
/// # Errors
/// The receiver could not be reached, or did not answer with HTTP. Time is the caller's affair.
pub async fn post(webhook: &Webhook, message: &Message<'_>) -> Result<StatusCode, Reason> {
    let url = &webhook.url;
    let cannot = |error: &dyn std::fmt::Display| format!("no connection: {error}");
    let stream = TcpStream::connect(&*url.address).await.map_err(|error| cannot(&error))?;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| cannot(&error))?;
    let request = Request::post(&*url.path)
        .header(HOST, &*url.authority)
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .header(USER_AGENT, concat!("headwater/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", message.id)
        .header("webhook-timestamp", message.timestamp_s)
        .header("webhook-signature", &message.signatures)
        .body(Body::from(message.body.to_vec()))
        .map_err(|error| error.to_string())?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    let bad = |error: hyper::Error| format!("no answer: {error}");
    tokio::select! {
        biased;
        result = &mut answer => Ok(result.map_err(bad)?.status()),
        // The answer may have come with the connection's end.
        _ = &mut connection => Ok(answer.await.map_err(bad)?.status()),
    }
}

/// Whether another attempt may have another outcome: RFC 9110, section 15, says so of timeouts,
/// of too many requests, and of what is wrong at the server.
pub fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}
