//! What one shard counts: its thread writes, the control thread reads and renders.
//!
//! The table below is the list of all families; a test forbids duplicate names and missing help.
//! Raw values of histograms are microseconds or milliseconds, as their bounds say; rendering
//! divides them into seconds.
//!
//! **Invariants**: one set per shard, written by that shard's thread only; no label of the table
//! carries anything that a peer sent. Names of topics, where a rule asks for them, are apart
//! ([`topics`]).

mod topics;

pub use topics::{TopicBoard, TopicCount};

use crate::sys::meter::BOUNDS;

/// Bounds for latencies, in microseconds: 20 us to 10 s.
pub const LATENCY_US: [u32; BOUNDS] = [
    20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// Bounds for the length of one turn of a shard's loop, in microseconds: 5 us to 100 ms.
pub const TURN_US: [u32; BOUNDS] =
    [5, 10, 20, 40, 80, 150, 300, 500, 750, 1_000, 1_500, 2_500, 5_000, 10_000, 25_000, 100_000];

/// Bounds for bitrates and throughputs of players, in kbit/s: 100 kbit/s to 100 Mbit/s.
pub const RATE_KBPS: [u32; BOUNDS] = [
    100, 200, 400, 700, 1_000, 1_500, 2_000, 3_000, 4_500, 6_000, 8_000, 12_000, 18_000, 25_000,
    50_000, 100_000,
];

/// Bounds for ages and gaps, in milliseconds: 10 ms to 1 h.
pub const AGE_MS: [u32; BOUNDS] = [
    10, 50, 100, 250, 500, 1_000, 2_000, 4_000, 6_000, 10_000, 20_000, 60_000, 300_000, 900_000,
    1_800_000, 3_600_000,
];

crate::meters! {
    /// The meters of one shard. Aligned so that no two shards' sets share a cache line (or the
    /// pair of lines that the prefetcher fetches together).
    #[repr(align(128))]
    pub struct ShardMeters;

    "headwater_connections_open", "Client connections open now.", per 1.0 {
        connections_open: Gauge,
    }
    "headwater_connections_accepted_total", "Client connections accepted.", per 1.0 {
        connections_accepted: Counter,
    }
    "headwater_connections_handed_over_total",
    "Accepted connections handed to a less loaded shard.", per 1.0 {
        connections_handed_over: Counter,
    }
    "headwater_connections_refused_total",
    "Connections closed at once because a limit was reached.", per 1.0 {
        connections_refused: Counter,
    }
    "headwater_requests_total", "Requests whose head was complete, by method.", per 1.0 {
        requests_get: Counter ["method=\"get\""],
        requests_head: Counter ["method=\"head\""],
        requests_put: Counter ["method=\"put\""],
        requests_delete: Counter ["method=\"delete\""],
        requests_options: Counter ["method=\"options\""],
        requests_other: Counter ["method=\"other\""],
    }
    "headwater_responses_total", "Final responses, by class of status.", per 1.0 {
        responses_2xx: Counter ["class=\"2xx\""],
        responses_3xx: Counter ["class=\"3xx\""],
        responses_4xx: Counter ["class=\"4xx\""],
        responses_5xx: Counter ["class=\"5xx\""],
    }
    "headwater_responses_by_code_total",
    "Final responses with the status codes worth watching.", per 1.0 {
        responses_200: Counter ["code=\"200\""],
        responses_206: Counter ["code=\"206\""],
        responses_304: Counter ["code=\"304\""],
        responses_400: Counter ["code=\"400\""],
        responses_401: Counter ["code=\"401\""],
        responses_403: Counter ["code=\"403\""],
        responses_404: Counter ["code=\"404\""],
        responses_408: Counter ["code=\"408\""],
        responses_409: Counter ["code=\"409\""],
        responses_412: Counter ["code=\"412\""],
        responses_413: Counter ["code=\"413\""],
        responses_416: Counter ["code=\"416\""],
        responses_431: Counter ["code=\"431\""],
        responses_503: Counter ["code=\"503\""],
        responses_507: Counter ["code=\"507\""],
    }
    "headwater_denied_total", "Requests that were not allowed, by reason.", per 1.0 {
        denied_missing: Counter ["reason=\"no_credential\""],
        denied_unknown: Counter ["reason=\"unknown\""],
        denied_expired: Counter ["reason=\"expired\""],
        denied_not_granted: Counter ["reason=\"not_granted\""],
        denied_network: Counter ["reason=\"network\""],
        denied_web_page: Counter ["reason=\"web_page\""],
        denied_closed: Counter ["reason=\"closed\""],
    }
    "headwater_cmcd_requests_total", "Reads that said something of their player (CMCD).", per 1.0 {
        cmcd_requests: Counter,
    }
    "headwater_cmcd_malformed_total", "Of them, those whose list breaks the rules.", per 1.0 {
        cmcd_malformed: Counter,
    }
    "headwater_cmcd_starved_total",
    "Of them, those whose player's buffer had run dry since its last request.", per 1.0 {
        cmcd_starved: Counter,
    }
    "headwater_cmcd_startups_total",
    "Of them, those that a player needed at once: start, seek, recovery.", per 1.0 {
        cmcd_startups: Counter,
    }
    "headwater_cmcd_sessions",
    "Sessions of players in the last 30 to 60 seconds, estimated; one with connections on several \
     shards counts on each.", per 1.0 {
        cmcd_sessions: Gauge,
    }
    "headwater_cmcd_bitrate_bits_per_second", "Encoded bitrate that players asked for.", per 0.001 {
        cmcd_bitrate: Histogram(&RATE_KBPS),
    }
    "headwater_cmcd_throughput_bits_per_second", "Throughput that players measured.", per 0.001 {
        cmcd_throughput: Histogram(&RATE_KBPS),
    }
    "headwater_cmcd_buffer_seconds", "Media in the buffer of players.", per 1_000.0 {
        cmcd_buffer: Histogram(&AGE_MS),
    }
    "headwater_received_bytes_total", "Bytes received from clients, heads included.", per 1.0 {
        received_bytes: Counter,
    }
    "headwater_sent_bytes_total",
    "Bytes handed to the kernel for clients, heads included, by way.", per 1.0 {
        sent_bytes_copy: Counter ["way=\"copy\""],
        sent_bytes_zc: Counter ["way=\"zc\""],
        sent_bytes_splice: Counter ["way=\"splice\""],
    }
    "headwater_sends_total", "Send operations completed, by way.", per 1.0 {
        sends_copy: Counter ["way=\"copy\""],
        sends_zc: Counter ["way=\"zc\""],
        sends_splice: Counter ["way=\"splice\""],
    }
    "headwater_sends_zc_copied_total",
    "Zero-copy sends of which the kernel reported that it copied after all.", per 1.0 {
        zc_copied: Counter,
    }
    "headwater_slow_readers_cut_total",
    "Connections cut because their peer took less than the minimum rate.", per 1.0 {
        slow_readers_cut: Counter,
    }
    "headwater_routes_demoted_total",
    "Connections that went from zero-copy to copying sends.", per 1.0 {
        zc_demotions: Counter,
    }
    "headwater_request_duration_seconds",
    "From a request's first byte to the last byte of its answer handed to the kernel.",
    per 1_000_000.0 {
        request_duration: Histogram(&LATENCY_US),
    }
    "headwater_turnaround_seconds",
    "From the end of a request's head to the first byte of its answer handed to the kernel.",
    per 1_000_000.0 {
        turnaround: Histogram(&LATENCY_US),
    }
    "headwater_object_age_seconds", "Age of objects at the moment they are read.", per 1_000.0 {
        object_age: Histogram(&AGE_MS),
    }
    "headwater_ingest_gap_seconds",
    "Between the completions of consecutive uploads into one folder, seen by its owner.",
    per 1_000.0 {
        ingest_gap: Histogram(&AGE_MS),
    }
    "headwater_objects", "Objects that the shard owns.", per 1.0 {
        objects: Gauge,
    }
    "headwater_folders", "Folders that the shard owns.", per 1.0 {
        folders: Gauge,
    }
    "headwater_objects_growing", "Objects that are readable while they arrive.", per 1.0 {
        objects_growing: Gauge,
    }
    "headwater_objects_expired_total", "Objects removed because their time was over.", per 1.0 {
        objects_expired: Counter,
    }
    "headwater_arena_used_bytes", "Arena bytes that hold objects and uploads.", per 1.0 {
        arena_used_bytes: Gauge,
    }
    "headwater_arena_drawn_bytes",
    "Arena bytes in slots that the shard has drawn from the pool, used or not.", per 1.0 {
        arena_drawn_bytes: Gauge,
    }
    "headwater_arena_retired_bytes",
    "Arena bytes of bodies that are gone and were spliced: of use again after a renewal.",
    per 1.0 {
        arena_retired_bytes: Gauge,
    }
    "headwater_spliced_unread_bytes",
    "Bytes shared by reference with peers that have not come back since.", per 1.0 {
        spliced_unread_bytes: Gauge,
    }
    "headwater_arena_pinned_bytes",
    "Arena bytes of replaced or deleted objects that answers under way still hold.", per 1.0 {
        arena_pinned_bytes: Gauge,
    }
    "headwater_uploads_total", "Uploads, by what became of them.", per 1.0 {
        uploads_begun: Counter ["state=\"begun\""],
        uploads_completed: Counter ["state=\"completed\""],
        uploads_aborted: Counter ["state=\"aborted\""],
        uploads_superseded: Counter ["state=\"superseded\""],
    }
    "headwater_pipeline_uploads_total",
    "Uploads of a second encoder that were not stored, by what was there.", per 1.0 {
        copies_same: Counter ["there=\"same\""],
        copies_other: Counter ["there=\"other\""],
    }
    "headwater_pipeline_takeovers_total",
    "Objects whose upload broke off and that another encoder's upload went on with.", per 1.0 {
        takeovers: Counter,
    }
    "headwater_pipeline_switches_total",
    "Times that a folder's playlists changed to another encoder.", per 1.0 {
        pipeline_switches: Counter,
    }
    "headwater_pipeline_aside_bytes",
    "Bytes of uploads kept aside while another encoder's upload of the object arrives.", per 1.0 {
        aside_bytes: Gauge,
    }
    "headwater_disk_saves_total", "Uploads written to disk, and those that could not be.",
    per 1.0 {
        disk_saved: Counter ["outcome=\"saved\""],
        disk_unsaved: Counter ["outcome=\"failed\""],
    }
    "headwater_disk_refused_total", "Uploads refused because the disk is used up to its mark.",
    per 1.0 {
        disk_refused: Counter,
    }
    "headwater_disk_loads_total", "Reads that memory did not have, by what the disk had.",
    per 1.0 {
        disk_loads: Counter ["outcome=\"loaded\""],
        disk_absent: Counter ["outcome=\"absent\""],
        disk_damaged: Counter ["outcome=\"damaged\""],
    }
    "headwater_disk_chunks_total",
    "Chunks of large files read from disk, those of them that were read ahead, and answers cut \
     because a chunk was not to be had.", per 1.0 {
        disk_chunks: Counter ["outcome=\"loaded\""],
        disk_chunks_ahead: Counter ["outcome=\"ahead\""],
        disk_chunks_missed: Counter ["outcome=\"missed\""],
    }
    "headwater_prefetches_total",
    "Objects brought into memory ahead of their readers, those of them that were read and that \
     left unread; and what was not there, or not brought for want of room or by a fault.",
    per 1.0 {
        prefetches_begun: Counter ["outcome=\"begun\""],
        prefetches_used: Counter ["outcome=\"used\""],
        prefetches_wasted: Counter ["outcome=\"wasted\""],
        prefetches_absent: Counter ["outcome=\"absent\""],
        prefetches_failed: Counter ["outcome=\"failed\""],
    }
    "headwater_evictions_total",
    "Objects that gave way: the disk has them, or their path says so.", per 1.0 {
        evictions: Counter,
    }
    "headwater_evicted_bytes_total", "Arena bytes of those.", per 1.0 {
        evicted_bytes: Counter,
    }
    "headwater_disk_bytes_total", "Bytes of bodies read from disk and written to it.", per 1.0 {
        disk_read_bytes: Counter ["way=\"read\""],
        disk_written_bytes: Counter ["way=\"written\""],
    }
    "headwater_disk_folder_syncs_total",
    "Syncs of folders; each makes all names durable that wait for it.", per 1.0 {
        disk_folder_syncs: Counter,
    }
    "headwater_lifecycle_total", "What lifecycle rules and the disk's marks came to.", per 1.0 {
        lifecycle_expired: Counter ["outcome=\"expired\""],
        lifecycle_moved: Counter ["outcome=\"moved\""],
        lifecycle_failed: Counter ["outcome=\"failed\""],
    }
    "headwater_remote_orders_total", "What was asked of the remote store, by what came of it.",
    per 1.0 {
        remote_saved: Counter ["outcome=\"saved\""],
        remote_erased: Counter ["outcome=\"erased\""],
        remote_loads: Counter ["outcome=\"loaded\""],
        remote_chunks: Counter ["outcome=\"chunk\""],
        remote_absent: Counter ["outcome=\"absent\""],
        remote_failed: Counter ["outcome=\"failed\""],
    }
    "headwater_remote_bytes_total",
    "Bytes of bodies read from the remote store and sent to it.", per 1.0 {
        remote_read_bytes: Counter ["way=\"read\""],
        remote_sent_bytes: Counter ["way=\"sent\""],
    }
    "headwater_remote_pending", "Keys that wait to be sent to the remote store.", per 1.0 {
        remote_pending: Gauge,
    }
    "headwater_leases_held", "Leases that the shard holds on other shards' objects.", per 1.0 {
        leases_held: Gauge,
    }
    "headwater_leases_total", "Lease traffic, by event.", per 1.0 {
        leases_granted: Counter ["event=\"granted\""],
        leases_recalled: Counter ["event=\"recalled\""],
        leases_evicted: Counter ["event=\"evicted\""],
    }
    "headwater_asks_total", "Asks sent to other shards, and those refused for room.", per 1.0 {
        asks_sent: Counter ["state=\"sent\""],
        asks_refused: Counter ["state=\"refused\""],
    }
    "headwater_mailbox_messages", "Messages from other shards that wait to be read.", per 1.0 {
        mailbox_messages: Gauge,
    }
    "headwater_ring_enters_total", "System calls into the ring.", per 1.0 {
        ring_enters: Counter,
    }
    "headwater_ring_completions_total", "Completions reaped from the ring.", per 1.0 {
        ring_completions: Counter,
    }
    "headwater_ring_overflows_total",
    "Turns that found the ring's completion queue overflown.", per 1.0 {
        ring_cq_overflows: Counter,
    }
    "headwater_ring_submission_full_total",
    "Times the submission queue was full and had to be flushed early.", per 1.0 {
        ring_sq_full: Counter,
    }
    "headwater_reads_waiting", "Reads that wait for a version or an object to come.", per 1.0 {
        reads_waiting: Gauge,
    }
    "headwater_watched_keys", "Own keys whose next version is waited for.", per 1.0 {
        watched_keys: Gauge,
    }
    "headwater_stale_manifests", "Manifests whose last answer was that they are stale.", per 1.0 {
        stale_manifests: Gauge,
    }
    "headwater_stale_answers_total", "Answers that a manifest is stale.", per 1.0 {
        stale_answers: Counter,
    }
    "headwater_incomplete_ladders",
    "Multivariant playlists whose last answer was that a rendition is missing or stale.",
    per 1.0 {
        incomplete_ladders: Gauge,
    }
    "headwater_incomplete_answers_total",
    "Answers that a rendition of a multivariant playlist is missing or stale.", per 1.0 {
        incomplete_answers: Counter,
    }
    "headwater_ll_playlists", "Low-latency playlists that are made here.", per 1.0 {
        ll_playlists: Gauge,
    }
    "headwater_ll_versions_total", "Versions of made playlists that were published.", per 1.0 {
        ll_versions: Counter,
    }
    "headwater_topics", "Topics that the shard owns.", per 1.0 {
        topics: Gauge,
    }
    "headwater_topic_log_bytes", "Bytes in the logs of topics that the shard owns.", per 1.0 {
        topic_log_bytes: Gauge,
    }
    "headwater_topic_arriving_bytes", "Memory of large messages that are arriving.", per 1.0 {
        topic_arriving_bytes: Gauge,
    }
    "headwater_topic_copies", "Topics of which the shard has, or just had, subscribers.", per 1.0 {
        topic_copies: Gauge,
    }
    "headwater_topic_subscribers", "Subscriptions that are open, by way.", per 1.0 {
        topic_streams: Gauge ["way=\"sse\""],
        topic_sockets: Gauge ["way=\"websocket\""],
        topic_polls: Gauge ["way=\"poll\""],
    }
    "headwater_topics_unmeasured",
    "Topics whose rule asks for counts of their own and that find no place among those that have \
     them.", per 1.0 {
        topics_unmeasured: Gauge,
    }
    "headwater_topic_messages_total", "Publications through this shard, by outcome.", per 1.0 {
        topic_messages: Counter ["outcome=\"published\""],
        topic_refused: Counter ["outcome=\"refused\""],
    }
    "headwater_topic_deliveries_total",
    "Messages that were sent to streams and WebSockets.", per 1.0 {
        topic_deliveries: Counter,
    }
    "headwater_topic_discontinuities_total",
    "Subscribers that were told of messages they missed.", per 1.0 {
        topic_gaps: Counter,
    }
    "headwater_topic_expired_total",
    "Subscribers that were ended because their credential's time was over.", per 1.0 {
        topic_expired: Counter,
    }
    "headwater_receive_starved_total",
    "Receptions that found no receive buffer and waited for one.", per 1.0 {
        receive_starved: Counter,
    }
    "headwater_connections_cut_total",
    "Connections cut for the receive buffers that they held without reading answers.", per 1.0 {
        connections_cut: Counter,
    }
    "headwater_receive_buffers", "Receive buffers in use, 4 KiB each.", per 1.0 {
        receive_buffers: Gauge,
    }
    "headwater_turn_duration_seconds",
    "Work of one turn of the shard's loop, without waiting.", per 1_000_000.0 {
        turn_duration: Histogram(&TURN_US),
    }
    "headwater_access_log_dropped_total",
    "Access log lines dropped because the log thread was behind.", per 1.0 {
        access_log_dropped: Counter,
    }
}

impl ShardMeters {
    /// Counts a final response under its class and, where the code is watched, its code.
    #[inline]
    pub fn count_response(&self, status: u16) {
        debug_assert!((101..=599).contains(&status), "a final response, not {status}");
        match status {
            101 => return,
            200..=299 => self.responses_2xx.bump(),
            300..=399 => self.responses_3xx.bump(),
            400..=499 => self.responses_4xx.bump(),
            _ => self.responses_5xx.bump(),
        }
        let code = match status {
            200 => &self.responses_200,
            206 => &self.responses_206,
            304 => &self.responses_304,
            400 => &self.responses_400,
            401 => &self.responses_401,
            403 => &self.responses_403,
            404 => &self.responses_404,
            408 => &self.responses_408,
            409 => &self.responses_409,
            412 => &self.responses_412,
            413 => &self.responses_413,
            416 => &self.responses_416,
            431 => &self.responses_431,
            503 => &self.responses_503,
            507 => &self.responses_507,
            _ => return,
        };
        code.bump();
    }
}

// A set fills whole pairs of cache lines.
const _: () = assert!(size_of::<ShardMeters>().is_multiple_of(128));

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::sys::meter::{Kind, Reading};

    #[test]
    fn families_have_distinct_names_help_and_one_kind() {
        let meters = ShardMeters::new();
        let mut names = HashSet::new();
        for family in ShardMeters::FAMILIES {
            assert!(names.insert(family.name), "{} is declared twice", family.name);
            assert!(family.name.starts_with("headwater_"), "{}", family.name);
            assert!(family.help.len() > 10 && family.help.ends_with('.'), "{}", family.name);
            assert_eq!(family.name.ends_with("_total"), family.kind == Kind::Counter);
            let mut labels = HashSet::new();
            for series in family.series {
                assert!(labels.insert(series.labels), "{} {}", family.name, series.labels);
                let kind = match (series.read)(&meters) {
                    Reading::Count(_) => Kind::Counter,
                    Reading::Level(_) => Kind::Gauge,
                    Reading::Sizes(_) => Kind::Histogram,
                };
                assert_eq!(kind, family.kind, "{}", family.name);
            }
            assert!(labels.len() == 1 || !labels.contains(""), "{}", family.name);
        }
    }

    #[test]
    fn histograms_end_in_a_base_unit() {
        for family in ShardMeters::FAMILIES.iter().filter(|f| f.kind == Kind::Histogram) {
            let is_time = family.name.ends_with("_seconds") && family.divisor > 1.0;
            // Players speak of kbit/s.
            let is_rate = family.name.ends_with("_bits_per_second") && family.divisor < 1.0;
            assert!(is_time || is_rate, "{}", family.name);
        }
    }

    #[test]
    fn responses_are_counted_by_class_and_code() {
        let meters = ShardMeters::new();
        for status in [200, 206, 204, 304, 404, 405, 507, 599] {
            meters.count_response(status);
        }
        assert_eq!(meters.responses_2xx.value(), 3);
        assert_eq!(meters.responses_3xx.value(), 1);
        assert_eq!(meters.responses_4xx.value(), 2);
        assert_eq!(meters.responses_5xx.value(), 2);
        assert_eq!(meters.responses_404.value(), 1);
        assert_eq!(meters.responses_507.value(), 1);
        assert_eq!(meters.responses_503.value(), 0);
    }
}
