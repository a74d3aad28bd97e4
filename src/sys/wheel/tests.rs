//! The wheel against an ordered map, and its stories.

use std::collections::BTreeMap;

use super::{TimerId, Wheel};
use crate::sys::random::Random;

fn pop_all(wheel: &mut Wheel, now_ms: u64) -> Vec<u32> {
    let mut tokens = Vec::new();
    loop {
        while let Some(token) = wheel.pop_expired(now_ms) {
            tokens.push(token);
        }
        if wheel.next_deadline().is_none_or(|deadline_ms| deadline_ms > now_ms) {
            return tokens;
        }
    }
}

#[test]
fn behaves_like_an_ordered_map() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut now_ms = random.below(1 << 40);
        let mut wheel = Wheel::new(now_ms);
        let mut model: BTreeMap<u32, (u64, TimerId)> = BTreeMap::new();
        let mut token = 0;
        for _ in 0..2000 {
            match random.below(10) {
                0..=4 => {
                    let far = 1 << random.below(45);
                    let deadline_ms = (now_ms + random.below(far)).saturating_sub(random.below(3));
                    model.insert(token, (deadline_ms, wheel.insert(deadline_ms, token)));
                    token += 1;
                }
                5..=6 => {
                    let from = u32::try_from(random.below(u64::from(token) + 1)).unwrap();
                    let any = model.range(from..).next();
                    if let Some((&token, &(_, id))) = any {
                        model.remove(&token);
                        assert!(wheel.cancel(id));
                        assert!(!wheel.cancel(id), "a name serves once");
                    }
                }
                _ => {
                    let far = 1 << random.below(30);
                    now_ms += random.below(far);
                    for token in pop_all(&mut wheel, now_ms) {
                        let (deadline_ms, id) = model.remove(&token).expect("fires once");
                        assert!(deadline_ms <= now_ms, "never early");
                        assert!(!wheel.cancel(id));
                    }
                    let first = model.values().map(|&(deadline_ms, _)| deadline_ms).min();
                    assert!(first.is_none_or(|first| first > now_ms), "never late");
                    let next = wheel.next_deadline();
                    assert_eq!(next.is_some(), first.is_some());
                    assert!(next <= first && next.is_none_or(|next| next > now_ms));
                }
            }
            assert_eq!(wheel.len(), model.len());
        }
    }
}

#[test]
fn next_deadline_leads_to_the_timer_in_few_steps() {
    let mut wheel = Wheel::new(1);
    wheel.insert(u64::MAX - 1, 7);
    let mut steps = 0;
    loop {
        let deadline_ms = wheel.next_deadline().unwrap();
        steps += 1;
        if let Some(token) = wheel.pop_expired(deadline_ms) {
            assert_eq!((token, deadline_ms), (7, u64::MAX - 1));
            break;
        }
    }
    assert!(steps <= 12, "{steps}");
    assert!(wheel.is_empty());
}

/// Many objects stored in the same hours share a slot high up; moving them down must not hold up
/// a turn.
#[test]
fn one_call_moves_a_bounded_number_of_timers() {
    let mut wheel = Wheel::new(0);
    for token in 0..10_000 {
        wheel.insert((1 << 30) + u64::from(token), token);
    }
    let mut calls = 0;
    let now_ms = (1 << 30) + 20_000;
    let mut fired = 0;
    while !wheel.is_empty() {
        calls += 1;
        match wheel.pop_expired(now_ms) {
            Some(_) => fired += 1,
            None => {
                assert!(wheel.next_deadline().unwrap() <= now_ms);
                let during = wheel.insert(now_ms + 5, 1_000_000);
                assert!(wheel.cancel(during));
            }
        }
    }
    assert_eq!(fired, 10_000);
    assert!(calls > 10_000 + 10_000 / 128);
}

#[test]
fn memory_is_reused() {
    let mut wheel = Wheel::new(0);
    for round in 0..1000 {
        let ids: Vec<_> = (0..10).map(|n| wheel.insert(round * 10 + n, 1)).collect();
        assert!(wheel.cancel(ids[3]));
        assert_eq!(pop_all(&mut wheel, round * 10 + 9).len(), 9);
    }
    assert_eq!(wheel.timers.len(), 10);
}
