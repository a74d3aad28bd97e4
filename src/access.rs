//! placeholder
crate::meters! {
    /// What the log thread counts.
    pub struct AccessMeters;
    "headwater_access_log_lines_total", "Access log lines written.", per 1.0 {
        lines: Counter,
    }
    "headwater_access_log_lost_total",
    "Access log lines that could not be written, for example on a full disk.", per 1.0 {
        lost: Counter,
    }
}
