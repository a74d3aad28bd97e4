//! Boot (placeholder for this clone; the real room replaces it).

use crate::config::Config;
use crate::exit::Exit;

/// Runs the origin.
pub fn serve(config: Config) -> Exit {
    tracing::info!(listen = ?config.listen, admin = %config.admin, "serving");
    Exit::Clean
}
