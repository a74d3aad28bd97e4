//! When viewers come, and when many go at once: a schedule made before the run from its seed.

use std::fmt;
use std::str::FromStr;

use crate::rate::schedule::{bits, unit};

/// Random stream of the arrivals.
const STREAM: u64 = 0x6172_7269_7661;

/// How viewers arrive.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// Independently, at a mean rate that brings all of them within the ramp.
    Poisson,
    /// Before a match: a logistic curve over the ramp.
    KickOff,
    /// A crowd on top of a base: `base + rest * (1 - e^(-t / tau))`, tau a third of the ramp; 70 %
    /// are there at once.
    Flash,
    /// A push notification: all within one second.
    Synchronised,
    /// All come by Poisson within the ramp; 80 % leave over two minutes after it.
    ExitSpike,
    /// All come by Poisson within the ramp; then all connections drop, and all rejoin at once.
    Reconnect,
    /// Seconds of each arrival, ascending.
    Trace(Vec<f64>),
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "poisson" => Self::Poisson,
            "kick-off" => Self::KickOff,
            "flash" => Self::Flash,
            "synchronised" => Self::Synchronised,
            "exit-spike" => Self::ExitSpike,
            "reconnect" => Self::Reconnect,
            _ => {
                return Err(format!(
                    "`{text}` is no way to arrive; there are poisson, kick-off, flash, \
                     synchronised, exit-spike and reconnect"
                ));
            }
        })
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Poisson => "Poisson",
            Self::KickOff => "kick-off",
            Self::Flash => "flash crowd",
            Self::Synchronised => "synchronised",
            Self::ExitSpike => "exit spike",
            Self::Reconnect => "reconnect storm",
            Self::Trace(_) => "trace",
        })
    }
}

/// A time in seconds, and the number of the viewer.
pub type Due = (f64, u64);

/// What happens to the crowd.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    /// Arrivals, earliest first.
    pub joins: Vec<Due>,
    /// Leavings that are not the viewer's own, earliest first.
    pub leaves: Vec<Due>,
    /// Instants at which all connections drop; the crowd rejoins at once.
    pub drops: Vec<f64>,
}

/// The schedule of `viewers` viewers over `ramp` seconds. Equal seeds give equal schedules.
pub fn schedule(arrivals: &Arrivals, viewers: u64, ramp: f64, seed: u64) -> Schedule {
    let ramp = ramp.max(0.001);
    let random = |index: u64| unit(bits(seed ^ STREAM, index));
    let mut schedule = Schedule::default();
    let times: Vec<f64> = match arrivals {
        Arrivals::Trace(times) => times.clone(),
        // Given their number, the arrivals of a Poisson process are uniform.
        Arrivals::Poisson | Arrivals::ExitSpike | Arrivals::Reconnect => {
            (0..viewers).map(|index| random(index) * ramp).collect()
        }
        Arrivals::Synchronised => (0..viewers).map(random).collect(),
        Arrivals::KickOff => (0..viewers).map(|index| logistic(random(index)) * ramp).collect(),
        Arrivals::Flash => (0..viewers).map(|index| flash(random(index), ramp)).collect(),
    };
    schedule.joins = numbered(times);
    match arrivals {
        Arrivals::ExitSpike => {
            let leaves = schedule.joins.iter().filter_map(|&(_, index)| {
                let first = unit(bits(seed ^ STREAM ^ 1, index));
                let second = unit(bits(seed ^ STREAM ^ 2, index));
                (first < 0.8).then_some((ramp + second * 120.0, index))
            });
            schedule.leaves = leaves.collect();
            schedule.leaves.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        Arrivals::Reconnect => schedule.drops = vec![ramp],
        _ => {}
    }
    schedule
}

fn numbered(mut times: Vec<f64>) -> Vec<Due> {
    times.sort_by(f64::total_cmp);
    times.into_iter().zip(0..).collect()
}

/// Inverse of the logistic curve from 0 to 1, cut at 0.7 % and 99.3 % (steepness 10 over the ramp,
/// a peak of about 2.5 times the mean rate).
fn logistic(share: f64) -> f64 {
    let low = 1.0 / (1.0 + 5f64.exp());
    let share = low + share * (1.0 - 2.0 * low);
    0.5 + (share / (1.0 - share)).ln() / 10.0
}

fn flash(share: f64, ramp: f64) -> f64 {
    if share < 0.7 {
        return share / 0.7;
    }
    // What is left of the exponential behind the ramp comes at its end.
    let rest = (share - 0.7) / 0.3;
    (-(1.0 - rest).ln() * ramp / 3.0).min(ramp)
}

/// Reads a trace: one number of seconds a line, `#` begins a remark.
pub fn trace(text: &str) -> Result<Arrivals, String> {
    let mut times = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim().trim_end_matches(',');
        if line.is_empty() {
            continue;
        }
        let time = line.parse().ok().filter(|time: &f64| (0.0..=1e7).contains(time));
        times.push(
            time.ok_or_else(|| format!("line {}: `{line}` is no time in seconds", number + 1))?,
        );
    }
    if times.is_empty() {
        return Err("it holds no arrival".to_owned());
    }
    Ok(Arrivals::Trace(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share_before(arrivals: &Arrivals, time: f64) -> f64 {
        let schedule = schedule(arrivals, 10_000, 60.0, 7);
        assert_eq!(schedule.joins.len(), 10_000);
        assert!(schedule.joins.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        schedule.joins.iter().filter(|join| join.0 <= time).count() as f64 / 10_000.0
    }

    #[test]
    fn crowds_come_as_their_curves_say() {
        let near = |arrivals, time, expected: f64| {
            let share = share_before(&arrivals, time);
            assert!((share - expected).abs() < 0.02, "{arrivals}: {share} at {time}");
        };
        near(Arrivals::Poisson, 30.0, 0.5);
        near(Arrivals::KickOff, 30.0, 0.5);
        near(Arrivals::KickOff, 15.0, 0.071);
        near(Arrivals::KickOff, 60.0, 1.0);
        near(Arrivals::Flash, 1.0, 0.7 + 0.3 * (1.0 - (-0.05f64).exp()));
        near(Arrivals::Flash, 20.0, 0.7 + 0.3 * (1.0 - (-1f64).exp()));
        near(Arrivals::Synchronised, 1.0, 1.0);
    }

    #[test]
    fn four_of_five_leave_in_an_exit_spike() {
        let schedule = schedule(&Arrivals::ExitSpike, 10_000, 60.0, 7);
        let share = schedule.leaves.len() as f64 / 10_000.0;
        assert!((share - 0.8).abs() < 0.02, "{share}");
        assert!(schedule.leaves.iter().all(|leave| (60.0..=180.0).contains(&leave.0)));
    }

    #[test]
    fn traces_are_read() {
        let read = trace("# seconds\n0.5\n2 # two\n\n1\n").unwrap();
        let schedule = schedule(&read, 0, 1.0, 1);
        assert_eq!(schedule.joins, [(0.5, 0), (1.0, 1), (2.0, 2)]);
        assert_eq!(trace("1\nx\n").unwrap_err(), "line 2: `x` is no time in seconds");
        assert!(trace("#\n").is_err());
        assert!("x".parse::<Arrivals>().unwrap_err().contains("kick-off"));
    }
}
