//! From a URL to a client of its store; credentials come from the environment alone.
//!
//! Invariants: nothing is asked of the store here, so that an origin starts while it is down.

use std::path::Path as FilePath;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, DynObjectStore, RetryConfig};
use tokio::sync::Semaphore;

use super::{Store, make_folder};
use crate::limits;

/// Opens what a URL that the configuration accepted names.
pub(super) fn store(url: &str) -> Result<Store, String> {
    let (scheme, rest) = url.split_once("://").ok_or("the URL has no scheme")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let root = format!("{scheme}://{bucket}");
    let client: Box<DynObjectStore> = match scheme {
        "file" => return folder(FilePath::new(rest)),
        "s3" => {
            let mut builder = AmazonS3Builder::from_env().with_url(root).with_retry(retry());
            for (key, value) in client_keys() {
                builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
            }
            Box::new(builder.build().map_err(|error| unopened(url, &error))?)
        }
        "gs" => {
            let mut builder =
                GoogleCloudStorageBuilder::from_env().with_url(root).with_retry(retry());
            for (key, value) in client_keys() {
                builder = builder.with_config(GoogleConfigKey::Client(key), value);
            }
            Box::new(builder.build().map_err(|error| unopened(url, &error))?)
        }
        _ => {
            let mut builder = MicrosoftAzureBuilder::from_env().with_url(root).with_retry(retry());
            for (key, value) in client_keys() {
                builder = builder.with_config(AzureConfigKey::Client(key), value);
            }
            Box::new(builder.build().map_err(|error| unopened(url, &error))?)
        }
    };
    Ok(opened(client, Path::from(prefix), false))
}

fn folder(path: &FilePath) -> Result<Store, String> {
    make_folder(path)?;
    let client = LocalFileSystem::new_with_prefix(path)
        .map_err(|error| format!("the folder {} cannot be used: {error}", path.display()))?
        .with_automatic_cleanup(true)
        .with_fsync(true);
    Ok(opened(Box::new(client), Path::default(), true))
}

fn opened(client: Box<DynObjectStore>, prefix: Path, is_folder: bool) -> Store {
    Store {
        client,
        prefix,
        is_folder,
        is_failing: AtomicBool::new(false),
        puts: Semaphore::new(limits::REMOTE_PUTS_MAX),
        gets: Semaphore::new(limits::REMOTE_GETS_MAX),
    }
}

fn unopened(url: &str, error: &object_store::Error) -> String {
    format!("the remote store {url} cannot be used: {error}; see docs/CONFIGURATION.md")
}

fn client_keys() -> [(ClientConfigKey, String); 2] {
    let seconds = |ms: u64| format!("{} seconds", ms.div_ceil(1000));
    [
        (ClientConfigKey::ConnectTimeout, seconds(limits::REMOTE_CONNECT_MS)),
        (ClientConfigKey::Timeout, seconds(limits::REMOTE_REQUEST_MS)),
    ]
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(limits::REMOTE_RETRY_PAUSE_MS),
            ..BackoffConfig::default()
        },
        max_retries: limits::REMOTE_RETRIES_MAX,
        retry_timeout: Duration::from_millis(limits::REMOTE_ANSWER_MS),
    }
}
