//! The search against scripted servers: exact, noisy, hopeless, endless, and a bad generator.

#![allow(clippy::cast_possible_truncation)]

use std::collections::BTreeMap;

use super::*;
use crate::report::random::Random;

fn a_try(load: f64, outcome: Outcome) -> Try {
    Try {
        load,
        achieved: load,
        outcome,
        reasons: if outcome == Outcome::Passed { vec![] } else { vec!["p99 above 5 ms".into()] },
        p50_ns: None,
        p99_ns: None,
        server_cpu: None,
        generator_cpu: None,
        figures: BTreeMap::new(),
    }
}

/// Runs a whole search against `server`; panics when it does not end.
fn search(plan: Plan, mut server: impl FnMut(f64) -> Try) -> Capacity {
    let mut search = Search::new(plan);
    for _ in 0..200 {
        match search.next() {
            Step::Done => return search.result("requests/s", vec![]),
            Step::Try(load) => {
                let result = server(load);
                search.observe(result);
            }
        }
    }
    panic!("no end after 200 tries: {search:?}");
}

fn outcome(passed: bool) -> Outcome {
    if passed { Outcome::Passed } else { Outcome::Failed }
}

#[test]
fn an_exact_limit_is_found_from_any_start() {
    for (limit, start) in [(37_123.0, 1000.0), (900.0, 1000.0), (64_000.0, 1000.0), (100.0, 6000.0)]
    {
        let found = search(Plan::new(start, 1e6), |load| a_try(load, outcome(load <= limit)));
        let largest = found.largest.unwrap();
        assert!(largest <= limit && largest > limit * 0.99, "{largest} of {limit}");
        assert!(found.broken_at.unwrap() > limit);
        assert!(found.tries.len() < 40, "{}", found.tries.len());
        assert_eq!(found.limiter, "p99 above 5 ms");
    }
}

/// Each run of the scripted server has a limit of its own, 1.5 % around the true one.
#[test]
fn a_noisy_limit_is_found_within_five_percent() {
    let seed = 40;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for round in 0..500 {
        let limit = 1000.0 * (random.unit() * 6.0).exp();
        let found = search(Plan::new(1000.0, 1e7), |load| {
            let now = limit * (1.0 + 0.015 * random.normal());
            a_try(load, outcome(load <= now))
        });
        let largest = found.largest.unwrap();
        let off = largest / limit - 1.0;
        assert!(off.abs() <= 0.05, "round {round}: {largest} of {limit}, off by {off:.3}");
        assert!(found.tries.len() < 110, "round {round}: {} tries", found.tries.len());
    }
}

#[test]
fn a_server_that_never_passes_has_no_capacity() {
    let found = search(Plan::new(1000.0, 1e6), |load| a_try(load, Outcome::Failed));
    assert_eq!(found.largest, None);
    assert!(found.broken_at.is_some());
}

#[test]
fn a_server_that_never_fails_is_confirmed_at_the_bound() {
    let found = search(Plan::new(1000.0, 50_000.0), |load| a_try(load, Outcome::Passed));
    assert_eq!((found.largest, found.broken_at), (Some(50_000.0), None));
    assert!(found.limiter.starts_with("nothing"));
    assert_eq!(found.tries.iter().filter(|t| t.load == 50_000.0).count(), 4);
}

#[test]
fn the_generator_is_named_when_it_is_the_limit() {
    let found = search(Plan::new(1000.0, 1e6), |load| {
        a_try(load, if load > 20_000.0 { Outcome::Invalid } else { Outcome::Passed })
    });
    assert!((19_000.0..=20_000.0).contains(&found.largest.unwrap()));
    assert_eq!(found.limiter, "generator");
}

#[test]
fn a_single_invalid_run_is_only_repeated() {
    let mut count = 0;
    let found = search(Plan::new(1000.0, 1e6), |load| {
        count += 1;
        let hiccup = count % 5 == 0;
        a_try(load, if hiccup { Outcome::Invalid } else { outcome(load <= 30_000.0) })
    });
    assert!(found.largest.unwrap() > 29_000.0);
}

/// Another program took the machine while 2,000 was tried, and the search closed in on that.
#[test]
fn a_disturbance_does_not_stand_as_the_limit() {
    for disturbed in [0..2, 3..7, 8..12, 14..19] {
        let mut count = 0;
        let found = search(Plan::new(1000.0, 1e6), |load| {
            count += 1;
            a_try(load, outcome(load <= 30_000.0 && !disturbed.contains(&(count - 1))))
        });
        let largest = found.largest.unwrap();
        assert!((29_000.0..=30_000.0).contains(&largest), "{largest} with {disturbed:?}");
    }
}

#[test]
fn the_server_cpu_is_named() {
    let found = search(Plan::new(1000.0, 1e6), |load| Try {
        server_cpu: Some((load / 30_000.0).min(1.0)),
        ..a_try(load, outcome(load <= 30_000.0))
    });
    assert_eq!(found.limiter, "server CPU");
}

#[test]
fn an_interrupt_ends_the_search() {
    let found = search(Plan::new(1000.0, 1e6), |load| {
        a_try(load, if load > 3000.0 { Outcome::NotEvaluated } else { Outcome::Passed })
    });
    assert_eq!(found.largest, Some(2000.0));
}

#[test]
fn the_knee_is_where_an_mm1_queue_bends() {
    // M/M/1 with 1 us of service: time in the system is 1 / (1 - load).
    let tries: Vec<Try> = (1..=19)
        .map(|i| {
            let load = f64::from(i) * 0.05;
            Try { p99_ns: Some((4605.0 / (1.0 - load)) as u64), ..a_try(load, Outcome::Passed) }
        })
        .collect();
    let knee_at = knee(&tries).unwrap();
    assert!((0.7..0.85).contains(&knee_at), "{knee_at}");
    let straight: Vec<Try> = (1..=9)
        .map(|i| Try { p99_ns: Some(i * 1000), ..a_try(i as f64, Outcome::Passed) })
        .collect();
    assert_eq!(knee(&straight), None);
    assert_eq!(knee(&tries[..3]), None);
}
