//! What viewers experienced, added up as they leave.

use crate::player::buffer::Playing;
use crate::player::viewer::{Ending, Viewer};
use crate::report::model::{Distribution, Qoe, QoeCounts, distribution};

/// Experience of all viewers of a thread.
#[derive(Debug)]
pub struct Experience {
    counts: QoeCounts,
    startup: Distribution,
    rebuffer: Distribution,
    bitrate: Distribution,
    switches: Distribution,
    latency: Distribution,
}

impl Default for Experience {
    fn default() -> Self {
        Self {
            counts: QoeCounts::default(),
            startup: Distribution::seconds(distribution::STARTUP),
            rebuffer: Distribution::ratio(distribution::REBUFFER),
            bitrate: Distribution::bits_per_second(distribution::BITRATE),
            switches: Distribution::per_minute(distribution::SWITCHES),
            latency: Distribution::seconds(distribution::LIVE_LATENCY),
        }
    }
}

impl Experience {
    /// A viewer left at `now`, by its own `ending` or because the run is over.
    pub fn left(&mut self, viewer: &mut Viewer, now: f64, ending: Option<Ending>) {
        let own = viewer.counts;
        let counts = &mut self.counts;
        counts.viewers += 1;
        counts.switches += u64::from(own.switches);
        counts.abandoned += u64::from(own.abandoned);
        counts.segments += u64::from(own.segments);
        counts.deadline_misses += u64::from(own.deadline_misses);
        counts.blocking_reloads += u64::from(own.blocking_reloads);
        counts.early_playlists += u64::from(own.early_playlists);
        counts.stale_playlists += u64::from(own.stale_playlists);
        counts.not_found += u64::from(own.not_found);
        counts.wasted_bytes += own.wasted;
        let Some(startup) = viewer.startup() else {
            counts.start_failures += u64::from(ending == Some(Ending::StartFailed));
            counts.left_before_start += u64::from(ending == Some(Ending::Tired));
            return;
        };
        counts.started += 1;
        self.startup.record(startup);
        let Some(buffer) = viewer.buffer_at(now) else { return };
        let (played, stalled, stalls) = (buffer.played(), buffer.stalled(), buffer.stalls());
        counts.played_s += played;
        counts.stalled_s += stalled;
        counts.stalls += u64::from(stalls);
        counts.stalled_viewers += u64::from(stalls > 0);
        if played + stalled > 0.0 {
            self.rebuffer.record(stalled / (played + stalled));
        }
        if played > 0.0 {
            self.switches.record(f64::from(own.switches) / (played / 60.0));
        }
        if own.loaded_s > 0.0 {
            self.bitrate.record(own.bits / own.loaded_s);
        }
        if own.latency_s > 0.0 {
            self.latency.record(own.latency_sum / own.latency_s);
        }
    }

    /// A body was compared.
    pub fn compared(&mut self, verified: u64, wrong: u64) {
        self.counts.verified += verified;
        self.counts.content_errors += wrong;
    }

    /// Adds what another thread saw.
    pub fn add(&mut self, other: &Self) {
        let (a, b) = (&mut self.counts, &other.counts);
        a.viewers += b.viewers;
        a.started += b.started;
        a.start_failures += b.start_failures;
        a.left_before_start += b.left_before_start;
        a.stalled_viewers += b.stalled_viewers;
        a.stalls += b.stalls;
        a.played_s += b.played_s;
        a.stalled_s += b.stalled_s;
        a.switches += b.switches;
        a.abandoned += b.abandoned;
        a.segments += b.segments;
        a.deadline_misses += b.deadline_misses;
        a.blocking_reloads += b.blocking_reloads;
        a.early_playlists += b.early_playlists;
        a.stale_playlists += b.stale_playlists;
        a.not_found += b.not_found;
        a.verified += b.verified;
        a.content_errors += b.content_errors;
        a.wasted_bytes += b.wasted_bytes;
        for (sum, more) in self.all_mut().into_iter().zip(other.all()) {
            sum.values.add(&more.values);
        }
    }

    fn all(&self) -> [&Distribution; 5] {
        [&self.startup, &self.rebuffer, &self.bitrate, &self.switches, &self.latency]
    }

    fn all_mut(&mut self) -> [&mut Distribution; 5] {
        [
            &mut self.startup,
            &mut self.rebuffer,
            &mut self.bitrate,
            &mut self.switches,
            &mut self.latency,
        ]
    }

    /// As a report has it, with what was found of deliveries.
    pub fn finish(self, deliveries: Vec<Distribution>) -> Qoe {
        let counts = self.counts.clone();
        let own = [self.startup, self.rebuffer, self.bitrate, self.switches, self.latency];
        let own = own.into_iter().filter(|distribution| !distribution.values.is_empty());
        Qoe { counts, distributions: own.chain(deliveries).collect() }
    }
}

/// Whether a viewer is stalled at `now`.
pub fn is_stalled(viewer: &mut Viewer, now: f64) -> bool {
    viewer.buffer_at(now).is_some_and(|buffer| buffer.state() == Playing::Stalled)
}
