//! What a viewer is like: how long it watches, over which link, whether it zaps. A pure function of
//! the seed and the viewer's number.

use crate::rate::schedule::{bits, unit};

/// A share of the crowd with one access link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkClass {
    /// Weight against the other classes.
    pub weight: f64,
    /// bit/s; 0 means unlimited.
    pub rate: f64,
}

/// What the crowd is like.
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    /// Median viewing time in seconds; infinite when all stay to the end.
    pub median: f64,
    /// Spread of the log-normal viewing time (sigma of its logarithm).
    pub sigma: f64,
    /// Share of viewers who join another stream when their time is over.
    pub zap: f64,
    /// Share of viewers who go back in the window once, halfway through.
    pub seek_back: f64,
    /// Access links.
    pub links: Vec<LinkClass>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { median: f64::INFINITY, sigma: 1.0, zap: 0.0, seek_back: 0.0, links: Vec::new() }
    }
}

/// One viewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Person {
    /// Seconds that it watches.
    pub stay: f64,
    /// Its link in bit/s; 0 means unlimited.
    pub link: f64,
    /// Joins another stream afterwards.
    pub zaps: bool,
    /// Seconds after joining at which it goes back; infinite when it does not.
    pub seeks_at: f64,
    /// Which of so many streams, from 0 to just under 1.
    pub taste: f64,
}

impl Sessions {
    /// The viewer with this number.
    pub fn person(&self, seed: u64, number: u64) -> Person {
        let random = |stream: u64| unit(bits(seed ^ (0x7365_7373_696f ^ stream << 48), number));
        // Box and Muller.
        let normal =
            (-2.0 * (1.0 - random(1)).ln()).sqrt() * (std::f64::consts::TAU * random(2)).cos();
        let stay = self.median * (self.sigma * normal).exp();
        let seeks_at =
            if random(5) < self.seek_back { stay.min(120.0) / 2.0 } else { f64::INFINITY };
        Person {
            stay,
            link: self.link(random(3)),
            zaps: random(4) < self.zap,
            seeks_at,
            taste: random(6),
        }
    }

    fn link(&self, share: f64) -> f64 {
        let total: f64 = self.links.iter().map(|class| class.weight).sum();
        let mut left = share * total;
        for class in &self.links {
            left -= class.weight;
            if left < 0.0 {
                return class.rate;
            }
        }
        0.0
    }
}

/// Reads `15%@3M,35%@10M,50%@0`: weights and rates in bit/s with k, M or G; 0 is unlimited.
pub fn links(text: &str) -> Result<Vec<LinkClass>, String> {
    text.split(',')
        .map(|class| {
            let wrong = || format!("`{class}` is no link class; write for example `15%@3M`");
            let (weight, rate) = class.trim().split_once('@').ok_or_else(wrong)?;
            let weight: f64 = weight.trim_end_matches('%').parse().map_err(|_| wrong())?;
            let rate = bit_rate(rate).ok_or_else(wrong)?;
            let good = weight > 0.0 && weight.is_finite();
            if good { Ok(LinkClass { weight, rate }) } else { Err(wrong()) }
        })
        .collect()
}

fn bit_rate(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        _ => return None,
    };
    digits
        .parse()
        .ok()
        .map(|number: f64| number * factor)
        .filter(|rate| (0.0..=1e12).contains(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_the_shares_that_were_asked_for() {
        let links = links("15%@3M,35%@10M,50%@0").unwrap();
        let sessions =
            Sessions { median: 600.0, zap: 0.25, seek_back: 0.1, links, ..Sessions::default() };
        let people: Vec<Person> = (0..10_000).map(|n| sessions.person(7, n)).collect();
        let share = |test: &dyn Fn(&Person) -> bool| {
            people.iter().filter(|person| test(person)).count() as f64 / 10_000.0
        };
        for (measured, expected) in [
            (share(&|p| p.stay < 600.0), 0.5),
            (share(&|p| p.stay < 600.0 * 1f64.exp()), 0.841),
            (share(&|p| p.link == 3e6), 0.15),
            (share(&|p| p.link == 0.0), 0.5),
            (share(&|p| p.zaps), 0.25),
            (share(&|p| p.seeks_at.is_finite()), 0.1),
        ] {
            assert!((measured - expected).abs() < 0.02, "{measured} {expected}");
        }
        assert_eq!(sessions.person(7, 3), sessions.person(7, 3));
        assert!(Sessions::default().person(1, 1).stay.is_infinite());
    }

    #[test]
    fn wrong_classes_are_named() {
        for wrong in ["", "3M", "x@3M", "10%@3x", "0%@1M", "10@-1"] {
            assert!(links(wrong).unwrap_err().contains("is no link class"), "{wrong}");
        }
        let class = LinkClass { weight: 1.0, rate: 500e3 };
        assert_eq!(links("1@500k").unwrap(), [class]);
    }
}
