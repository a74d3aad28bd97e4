//! The capacity search: which load to try next, given what came of the last one.
//!
//! Grow by a factor until a gate breaks, bisect the gap, then confirm by repeats; near the limit
//! one run means little, so that each bisecting step is a majority of repeats and the result must
//! pass every one. A run that says nothing (invalid) is repeated, and when it stays invalid the
//! generator is the limit. The load that broke is tried again at the very end: a disturbance of the
//! machine must not stand as the limit. A pure state machine: it runs nothing and knows no clock.

use super::model::{Capacity, Outcome, Try};
use super::verdict;

/// Times that a load which broke is tried again behind a confirmed result.
const DOUBTS_MAX: u32 = 2;

/// First words of the reason of a run that says nothing since a gate lacks samples: the
/// generator's capacity has no part in that.
pub const TOO_FEW: &str = "too few samples";

/// How a search goes about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// First load to try.
    pub start: f64,
    /// Load never exceeded.
    pub most: f64,
    /// Load below which nothing is tried.
    pub least: f64,
    /// Factor between loads while nothing broke (above 1).
    pub growth: f64,
    /// Width of the final gap, as a share of the load.
    pub precision: f64,
    /// Runs that confirm the result; a majority of as many decides each bisecting step.
    pub repeats: u32,
    /// Runs that are repeated because they were invalid, at each load.
    pub retries: u32,
}

impl Plan {
    /// The usual plan from `start` up to `most`: doubling, 1 % precision, three repeats.
    pub fn new(start: f64, most: f64) -> Self {
        let least = start / 64.0;
        Self { start, most, least, growth: 2.0, precision: 0.01, repeats: 3, retries: 2 }
    }
}

/// What the search wants next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Run this load and hand the result to [`Search::observe`].
    Try(f64),
    /// Nothing more: see [`Search::result`].
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Growing,
    Bisecting,
    Confirming,
    /// The result is confirmed; is the load that broke really too much?
    Doubting,
    Done,
}

/// A search under way.
#[derive(Debug)]
pub struct Search {
    plan: Plan,
    stage: Stage,
    load: f64,
    passes: u32,
    fails: u32,
    invalid: u32,
    good: Option<f64>,
    bad: Option<f64>,
    tries: Vec<Try>,
    factor: f64,
    doubts: u32,
}

impl Search {
    /// A search that has tried nothing yet.
    pub fn new(plan: Plan) -> Self {
        let (load, factor) = (plan.start.min(plan.most), plan.growth);
        Self {
            plan,
            factor,
            doubts: DOUBTS_MAX,
            stage: Stage::Growing,
            load,
            passes: 0,
            fails: 0,
            invalid: 0,
            good: None,
            bad: None,
            tries: Vec::new(),
        }
    }

    /// The next load, or that it is over.
    pub fn next(&self) -> Step {
        match self.stage {
            Stage::Done => Step::Done,
            _ => Step::Try(self.load),
        }
    }

    /// Takes the result of the load that [`Search::next`] named.
    pub fn observe(&mut self, result: Try) {
        let outcome = result.outcome;
        self.tries.push(result);
        match outcome {
            _ if self.stage == Stage::Done => {}
            Outcome::Passed => self.passes += 1,
            Outcome::Failed => self.fails += 1,
            // An interrupted run ends the search with what is known.
            Outcome::NotEvaluated => self.stage = Stage::Done,
            Outcome::Invalid => self.invalid += 1,
        }
        match self.stage {
            Stage::Done => {}
            Stage::Confirming => self.confirm(),
            Stage::Doubting => self.doubt(),
            Stage::Growing | Stage::Bisecting => self.decide(),
        }
    }

    /// A load is decided by a majority; while growing, one pass is enough to go on.
    fn decide(&mut self) {
        let majority = self.plan.repeats / 2 + 1;
        let passes_wanted = if self.stage == Stage::Growing { 1 } else { majority };
        if self.passes >= passes_wanted {
            self.good = Some(self.load);
        } else if self.fails >= majority || self.invalid > self.plan.retries {
            self.bad = Some(self.load);
        } else {
            return;
        }
        self.advance();
    }

    /// The result must pass as often as the plan says; else it is lowered by one step.
    fn confirm(&mut self) {
        if self.fails > 0 || self.invalid > self.plan.retries {
            self.bad = Some(self.load);
            let lower = self.load * (1.0 - self.plan.precision);
            self.good = None;
            self.move_to(lower);
        } else if self.passes >= self.plan.repeats {
            self.good = Some(self.load);
            self.stage = Stage::Done;
            if let Some(bad) = self.bad.filter(|_| self.doubts > 0) {
                self.doubts -= 1;
                self.stage = Stage::Doubting;
                self.move_to(bad);
            }
        }
    }

    /// A load that now passes every time was no limit: the search goes on from there, in smaller
    /// steps.
    fn doubt(&mut self) {
        if self.passes >= self.plan.repeats {
            (self.good, self.bad) = (Some(self.load), None);
            self.factor = self.factor.sqrt();
            self.stage = Stage::Growing;
            self.advance();
        } else if self.fails > 0 || self.invalid > self.plan.retries {
            self.stage = Stage::Done;
        }
    }

    fn advance(&mut self) {
        match (self.good, self.bad) {
            (Some(good), None) if good >= self.plan.most => {
                self.stage = Stage::Confirming;
                self.move_to(good);
            }
            (Some(good), None) => self.move_to((good * self.factor).min(self.plan.most)),
            (None, Some(bad)) => self.move_to(bad / self.plan.growth),
            (Some(good), Some(bad)) if bad - good <= good * self.plan.precision => {
                self.stage = Stage::Confirming;
                self.move_to(good);
            }
            (Some(good), Some(bad)) => {
                self.stage = Stage::Bisecting;
                self.move_to((good + bad) / 2.0);
            }
            (None, None) => {}
        }
    }

    fn move_to(&mut self, load: f64) {
        (self.passes, self.fails, self.invalid) = (0, 0, 0);
        self.load = load;
        if load < self.plan.least {
            self.good = None;
            self.stage = Stage::Done;
        }
    }

    /// What was found; to be asked for once [`Search::next`] says that it is over.
    pub fn result(self, unit: &str, gates: Vec<String>) -> Capacity {
        let confirmed = self.stage == Stage::Done;
        Capacity {
            unit: unit.to_owned(),
            gates,
            largest: if confirmed { self.good } else { None },
            broken_at: self.bad,
            knee: knee(&self.tries),
            limiter: limiter(&self.tries, self.bad),
            tries: self.tries,
        }
    }
}

/// Load at which the p99 curve bends (Satopaa et al. 2011: the point farthest below the chord);
/// `None` with fewer than four loads, or when the curve hardly bends.
pub fn knee(tries: &[Try]) -> Option<f64> {
    let mut points: Vec<(f64, f64)> =
        tries.iter().filter_map(|t| Some((t.load, t.p99_ns? as f64))).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    // Repeats of one load count as their median.
    let curve: Vec<(f64, f64)> = points
        .chunk_by(|a, b| a.0 == b.0)
        .map(|same| (same[0].0, same[same.len() / 2].1))
        .collect();
    if curve.len() < 4 {
        return None;
    }
    let (first, last) = (curve[0], curve[curve.len() - 1]);
    let below_chord = |point: &(f64, f64)| {
        let x = (point.0 - first.0) / (last.0 - first.0);
        let y = (point.1 - first.1) / (last.1 - first.1);
        x - y
    };
    if last.1 <= first.1 {
        return None;
    }
    let bend = curve.iter().max_by(|a, b| below_chord(a).total_cmp(&below_chord(b)))?;
    (below_chord(bend) > 0.2).then_some(bend.0)
}

/// What limited a search, judged by the lowest load that did not pass.
fn limiter(tries: &[Try], broken_at: Option<f64>) -> String {
    let Some(broken_at) = broken_at else {
        return "nothing: the largest load of the search passed".to_owned();
    };
    let Some(broken) =
        tries.iter().rev().find(|t| t.load == broken_at && t.outcome != Outcome::Passed)
    else {
        return "unknown".to_owned();
    };
    if let Some(why) = broken.reasons.first().filter(|why| why.starts_with(TOO_FEW)) {
        return why.clone();
    }
    let above = |name: &str, bound: f64| broken.figures.get(name).is_some_and(|f| *f >= bound);
    if broken.outcome == Outcome::Invalid || broken.generator_cpu.is_some_and(|cpu| cpu > 0.85) {
        "generator".to_owned()
    } else if broken.server_cpu.is_some_and(|cpu| cpu > 0.95) {
        "server CPU".to_owned()
    } else if above("link share", 0.9) {
        "link".to_owned()
    } else if above("connection wait share", 0.5) {
        "connection wait".to_owned()
    } else {
        match broken.reasons.first() {
            Some(why) if verdict::is_shortfall(why) => format!("answers missing or failed: {why}"),
            Some(why) => why.clone(),
            None => "unknown".to_owned(),
        }
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
