//! The admin listener: what it answers.
//!
//! `GET /healthz /readyz /metrics /version`, `POST /drain /reload`; anything else is 404 or 405, as
//! JSON.
//!
//! **Invariants**: only `POST` changes anything, and only for a caller on this machine or one
//! with a token, never for a web page; no answer may be stored by a cache.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, ORIGIN, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::sync::oneshot;

use crate::config::is_loopback;
use crate::limits;
use crate::sys::folder::DataFolder;

use super::listener::Listener;
use super::process::{Birth, Disk, FILL_PAUSE, Fill};
use super::{Cause, Parts, Phase, Process, metrics};

/// How this binary was built.
pub(super) const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

/// Serves until `stopped` resolves, then finishes what is under way for a bounded time.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    address: SocketAddr,
    parts: Parts,
    memory_bytes: u64,
    stopped: oneshot::Receiver<()>,
) {
    let admin = Arc::new(Admin {
        address,
        parts,
        memory_bytes,
        birth: Birth::now(),
        fill: Mutex::default(),
    });
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => Listener::new(listener),
        Err(error) => {
            tracing::error!(%error, "the admin listener cannot be used");
            let _ = stopped.await;
            return;
        }
    };
    let sampler = sample(Arc::clone(&admin));
    let looks = look_at_folders(admin.parts.folders.clone());
    let (close, closing) = oneshot::channel::<()>();
    let server = axum::serve(listener, router(admin)).with_graceful_shutdown(async {
        let _ = closing.await;
    });
    let mut server = std::pin::pin!(server.into_future());
    tokio::select! {
        result = &mut server => tracing::error!(?result, "the admin listener ended"),
        () = sampler => {}
        () = looks => {}
        _ = stopped => {}
    }
    let _ = close.send(());
    let patience = Duration::from_millis(limits::ADMIN_FINISH_MS);
    let _ = tokio::time::timeout(patience, server).await;
}

/// What the handlers share.
pub(super) struct Admin {
    address: SocketAddr,
    parts: Parts,
    memory_bytes: u64,
    birth: Birth,
    fill: Mutex<Fill>,
}

pub(super) fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .route("/version", get(version))
        .route("/drain", post(drain))
        .route("/reload", post(reload))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(map_response(finish))
        .with_state(admin)
}

async fn healthz() -> Response {
    json_answer(StatusCode::OK, &json!({"status": "ok"}))
}

async fn readyz(Shared(admin): Shared<Arc<Admin>>) -> Response {
    let (status, word) = match admin.parts.state.phase() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Phase::Ready => (StatusCode::OK, "ready"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    // Reads and uploads to memory go on, so that this is no reason to send nobody here.
    let disk = match Disk::of(&admin.parts.folders) {
        Disk { is_read_only: true, .. } => "read-only",
        Disk { is_away: true, .. } => "away",
        Disk { .. } => return json_answer(status, &json!({"status": word})),
    };
    json_answer(status, &json!({"status": word, "disk": disk}))
}

async fn render(Shared(admin): Shared<Arc<Admin>>) -> Response {
    let (parts, process) = (&admin.parts, admin.look());
    let text = metrics::render(&parts.meters, &process, &parts.hooks, &parts.topics.read());
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn version(Shared(admin): Shared<Arc<Admin>>) -> Response {
    let answer = json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "profile": PROFILE,
        "arch": std::env::consts::ARCH,
        "shards": admin.parts.meters.len(),
        "memory_bytes": admin.memory_bytes,
    });
    json_answer(StatusCode::OK, &answer)
}

async fn drain(Shared(admin): Shared<Arc<Admin>>, headers: HeaderMap) -> Response {
    if let Some(refusal) = admin.refusal(&headers) {
        return refusal;
    }
    let first = admin.parts.state.request_drain(Cause::Request);
    if first {
        tracing::info!("a drain was requested through the admin listener");
    }
    json_answer(StatusCode::ACCEPTED, &json!({"status": "draining", "already": !first}))
}

async fn reload(Shared(admin): Shared<Arc<Admin>>, headers: HeaderMap) -> Response {
    if let Some(refusal) = admin.refusal(&headers) {
        return refusal;
    }
    match admin.parts.reloader.reload() {
        Ok(reloaded) => json_answer(
            StatusCode::OK,
            &json!({
                "status": "reloaded",
                "waiting_for_restart": reloaded.waiting,
                "warnings": reloaded.warnings,
            }),
        ),
        Err(mistakes) => {
            let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            json_answer(
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!({
                    "error": "invalid_configuration",
                    "message": "nothing has changed",
                    "mistakes": mistakes,
                }),
            )
        }
    }
}

async fn not_found() -> Response {
    let paths = "the paths are /healthz, /readyz, /metrics, /version, /drain and /reload";
    error_answer(StatusCode::NOT_FOUND, "not_found", paths)
}

async fn method_not_allowed() -> Response {
    let methods = "everything here is GET, except POST /drain and /reload";
    error_answer(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", methods)
}

impl Admin {
    /// The answer to a request that may not change the process, or `None` where it may. Once
    /// tokens are set every caller needs one.
    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        // A browser sends Origin with every cross-site POST, and no other client does.
        if headers.contains_key(ORIGIN) {
            let reason = "web pages may not change the process (the request carries Origin)";
            return Some(error_answer(StatusCode::FORBIDDEN, "forbidden", reason));
        }
        let presented = headers.get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
        let (none, admitted) = self
            .parts
            .reloader
            .with_admin_tokens(|tokens| (tokens.is_empty(), tokens.admit(presented)));
        if none {
            if is_loopback(&self.address) {
                return None;
            }
            let reason = "the admin listener is reachable from other machines; set admin_tokens \
                          or admin_token_file to allow this";
            return Some(error_answer(StatusCode::FORBIDDEN, "forbidden", reason));
        }
        if admitted {
            return None;
        }
        let reason = "present one of the admin tokens: Authorization: Bearer TOKEN";
        let mut refusal = error_answer(StatusCode::UNAUTHORIZED, "unauthorized", reason);
        //= RFC 9110 section 15.5.2
        let challenge = HeaderValue::from_static("Bearer realm=\"headwater admin\"");
        refusal.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        Some(refusal)
    }
}

impl Admin {
    fn look(&self) -> Process {
        let fill = self.fill.lock().unwrap_or_else(PoisonError::into_inner);
        let access = self.parts.access.as_deref();
        Process {
            arena_bytes: self.memory_bytes,
            time_to_full_s: fill.time_to_full_s(self.memory_bytes),
            access_lines: access.map_or(0, |access| access.lines.value()),
            access_lost: access.map_or(0, |access| access.lost.value()),
            reloads: self.parts.reloader.counts(),
            disk: Disk::of(&self.parts.folders),
            ..self.birth.look(self.parts.state.phase())
        }
    }

    fn used_bytes(&self) -> u64 {
        let used = |meters: &Arc<crate::meters::ShardMeters>| meters.arena_used_bytes.value();
        self.parts.meters.iter().map(used).map(|used| u64::try_from(used).unwrap_or(0)).sum()
    }
}

/// Notes the arena's growth; never ends.
async fn sample(admin: Arc<Admin>) {
    let started = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(FILL_PAUSE);
    loop {
        ticks.tick().await;
        let used_bytes = admin.used_bytes();
        let mut fill = admin.fill.lock().unwrap_or_else(PoisonError::into_inner);
        fill.sample(started.elapsed(), used_bytes);
    }
}

/// Sees whether folders of the disk tier are at their paths; never ends. A file system that hangs
/// holds up one thread, and the next look.
async fn look_at_folders(folders: Vec<Arc<DataFolder>>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(limits::lifecycle::LOOK_MS));
    loop {
        ticks.tick().await;
        for folder in &folders {
            let folder = Arc::clone(folder);
            let _ = tokio::task::spawn_blocking(move || folder.look()).await;
        }
    }
}

fn json_answer(status: StatusCode, value: &serde_json::Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

fn error_answer(status: StatusCode, error: &str, message: &str) -> Response {
    json_answer(status, &json!({"error": error, "message": message}))
}

/// What every answer carries: not for caches, and one request a connection.
async fn finish(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
