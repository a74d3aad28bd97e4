//! The connection of one track: opened when needed, kept, opened anew when the server closed it.
//!
//! Errors come as the class under which reports count them. Never does: retry by itself what may
//! have been done, save requests on a kept connection that the server closed before any answer.

use std::time::Duration;

use crate::http::{Client, Request, Response, Upload};
use crate::limits::CONNECT_TIMEOUT;

use super::track::Settings;

/// The class of the error of a connection that the server had closed.
const CLOSED: [&str; 2] = ["closed", "reset"];

/// A connection that may be down.
#[derive(Default)]
pub struct Connection {
    client: Option<Client>,
}

impl Connection {
    /// True when the next request opens a connection.
    pub fn is_fresh(&self) -> bool {
        !self.client.as_ref().is_some_and(Client::reusable)
    }

    /// True when a kept connection was closed before it brought an answer.
    pub fn was_closed_idle(&self, result: &Result<(), String>) -> bool {
        result.as_ref().is_err_and(|class| CLOSED.contains(&class.as_str()))
    }

    async fn client(&mut self, settings: &Settings) -> Result<&mut Client, String> {
        if self.is_fresh() {
            // The old one is closed first: a server counts both.
            self.client = None;
            let client = Client::connect(settings.address, CONNECT_TIMEOUT.min(settings.timeout));
            self.client = Some(client.await.map_err(|error| error.class().to_owned())?);
        }
        self.client.as_mut().ok_or_else(|| "closed".to_owned())
    }

    /// PUTs a body that is in memory; gives it back in `bytes`.
    pub async fn put(
        &mut self,
        settings: &Settings,
        path: &str,
        bytes: &mut Vec<u8>,
    ) -> Result<(), String> {
        let length = Some(bytes.len() as u64);
        let request = request(settings, "PUT", path, b"");
        let client = self.client(settings).await?;
        let mut upload = client
            .upload(&request, length, settings.timeout)
            .await
            .map_err(|error| error.class().to_owned())?;
        let deadline = std::time::Instant::now() + settings.timeout;
        let (_, buffer) = upload.write(std::mem::take(bytes), deadline).await;
        *bytes = buffer;
        Self::close_upload(upload, settings.timeout).await
    }

    /// Begins a PUT whose body is sent in chunks. The head tells whether a kept connection is still
    /// good only with the answer, so that an idle one that was closed costs the segment.
    pub async fn open(&mut self, settings: &Settings, path: &str) -> Result<Upload<'_>, String> {
        let request = request(settings, "PUT", path, b"");
        let client = self.client(settings).await?;
        client
            .upload(&request, None, settings.timeout)
            .await
            .map_err(|error| error.class().to_owned())
    }

    /// Ends an upload and takes its answer.
    pub async fn close_upload(upload: Upload<'_>, timeout: Duration) -> Result<(), String> {
        let response = upload.finish(timeout).await.map_err(|error| error.class().to_owned())?;
        take(response).await
    }

    /// Drops the connection unless the last upload on it went well.
    pub fn note(&mut self, good: bool) {
        if !good {
            self.client = None;
        }
    }

    /// A small request; sent again once when a kept connection turns out to be closed.
    pub async fn send(
        &mut self,
        settings: &Settings,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<(), String> {
        let request = request(settings, method, path, body);
        loop {
            let fresh = self.is_fresh();
            let client = self.client(settings).await?;
            let result = match client.request(&request, settings.timeout).await {
                Ok(response) => take(response).await,
                Err(error) => Err(error.class().to_owned()),
            };
            if fresh || !self.was_closed_idle(&result) {
                return result;
            }
        }
    }
}

fn request<'a>(
    settings: &'a Settings,
    method: &'a str,
    path: &'a str,
    body: &'a [u8],
) -> Request<'a> {
    Request { method, path, host: &settings.authority, headers: &settings.headers, body }
}

/// Reads an answer away; anything but 2xx is an error.
async fn take(mut response: Response<'_>) -> Result<(), String> {
    let status = response.status();
    response.discard().await.map_err(|error| error.class().to_owned())?;
    match status {
        200..300 => Ok(()),
        status => Err(format!("status {status}")),
    }
}
