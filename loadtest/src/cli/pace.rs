//! Flags of everything that loads by a schedule, and the plan with that schedule.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::exit::Failure;
use super::load::{Load, time};
use crate::engine::{Mode, Plan};
use crate::rate::{Arrivals, Profile};

/// How requests are spread over time, and how the generator waits for them.
#[derive(Args, Clone, Debug)]
pub struct Pace {
    /// Distribution of the gaps between requests
    #[arg(long, value_enum, default_value = "poisson", help_heading = "Schedule")]
    pub arrivals: Gaps,
    /// Requests under way or waiting at once; more are shed, and counted
    #[arg(long, value_name = "N", default_value_t = 100_000, help_heading = "Schedule")]
    pub max_in_flight: usize,
    /// Spin until the next request is due instead of sleeping; takes one whole CPU a thread
    #[arg(long, help_heading = "Generator")]
    pub busy_poll: bool,
    /// Length of the bare clock loop before and after the load, which shows what this machine
    /// does to any program's timing
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    #[arg(help_heading = "Generator")]
    pub clock_check: Duration,
    /// Accept lateness of the generator up to TIME at p99.9, where the usual bound is 50us: for
    /// machines that others use too
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Generator")]
    pub allow_lateness: Option<Duration>,
}

/// Distribution of the gaps.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Gaps {
    /// Exponential gaps: independent users
    Poisson,
    /// Equal gaps
    Constant,
}

impl Gaps {
    /// The same for the engine.
    pub fn arrivals(self) -> Arrivals {
        match self {
            Self::Poisson => Arrivals::Poisson,
            Self::Constant => Arrivals::Constant,
        }
    }
}

impl Pace {
    /// A plan that loads at one rate; the error says which flag is wrong.
    pub fn at(&self, load: &Load, rate: f64) -> Result<Plan, Failure> {
        let plan = load.plan(Mode::Closed)?;
        let profile = Profile::constant(rate, load.duration.as_secs_f64());
        self.schedule(plan, self.arrivals.arrivals(), profile)
    }

    /// The plan with this schedule instead of its mode.
    pub fn schedule(
        &self,
        mut plan: Plan,
        arrivals: Arrivals,
        profile: Profile,
    ) -> Result<Plan, Failure> {
        plan.duration = Duration::from_secs_f64(profile.seconds());
        if self.max_in_flight == 0 {
            return Err(Failure::Usage("--max-in-flight 0: at least 1".to_owned()));
        }
        let profile = profile.after_warm_up(plan.warm_up.as_secs_f64());
        plan.mode = Mode::Open { arrivals, profile, busy: self.busy_poll };
        plan.in_flight_max = self.max_in_flight;
        plan.bare = self.clock_check;
        plan.lateness_allowed = self.allow_lateness;
        Ok(plan)
    }
}
