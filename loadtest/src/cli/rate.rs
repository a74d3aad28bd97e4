//! `rate`: placeholder until the engine stands.
use super::Ending;
/// Flags.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// URL
    #[arg(value_name = "URL", required = true)]
    urls: Vec<String>,
}
/// Runs it.
pub fn run(_args: &Args) -> anyhow::Result<Ending> { anyhow::bail!("not yet") }
