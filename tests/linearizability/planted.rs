//! Proves the checker: violations that were planted are found, and its verdict on small random
//! histories is that of trying every order.

use crate::checker::{ABSENT, Event, Guard, Operation, Value, check};
use crate::random::Random;

use Operation::{Delete, DeleteRefused, Nothing, Put, PutRefused, PutUnknown, Saw, SawOther};

fn event(called: u64, returned: u64, operation: Operation) -> Event {
    // An instant of zero stands for no answer.
    Event { called, returned: (returned > 0).then_some(returned), operation }
}

#[track_caller]
fn verdict(history: &[(u64, u64, Operation)], expected: bool) {
    let history: Vec<_> = history.iter().map(|&(a, b, operation)| event(a, b, operation)).collect();
    assert_eq!(check(&history).is_ok(), expected, "{history:#?}");
    assert_eq!(explained_by_some_order(&history), expected, "the oracle: {history:#?}");
}

fn put(value: Value) -> Operation {
    Put(value, Guard::Always)
}

#[test]
fn a_read_of_a_replaced_value_is_found() {
    verdict(&[(1, 2, put(1)), (3, 6, put(2)), (4, 5, Saw(1))], true);
    verdict(&[(1, 2, put(1)), (3, 4, put(2)), (5, 6, Saw(1))], false);
    verdict(&[(1, 2, put(1)), (3, 4, put(2)), (5, 6, SawOther(2))], false);
}

#[test]
fn a_lost_write_is_found() {
    verdict(&[(1, 2, put(1)), (3, 4, Nothing)], false);
    verdict(&[(1, 2, put(1)), (3, 4, Nothing), (2, 5, Delete(Guard::Always))], true);
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    verdict(&[(1, 2, put(1)), (3, 4, Saw(7))], false);
}

#[test]
fn new_and_then_old_is_found_while_the_write_is_under_way() {
    let begin = [(1, 2, put(1)), (3, 20, put(2))];
    verdict(&[begin[0], begin[1], (4, 5, Saw(1)), (6, 7, Saw(2))], true);
    verdict(&[begin[0], begin[1], (4, 5, Saw(2)), (6, 7, Saw(1))], false);
}

#[test]
fn two_creators_are_found() {
    let create = |value| Put(value, Guard::IsAbsent);
    verdict(&[(1, 4, create(1)), (2, 3, create(2))], false);
    verdict(&[(1, 4, create(1)), (2, 3, PutRefused(Guard::IsAbsent))], true);
    verdict(&[(1, 4, create(1)), (2, 3, create(2)), (2, 5, Delete(Guard::Always))], true);
}

#[test]
fn a_wrong_precondition_is_found() {
    verdict(&[(1, 2, put(1)), (3, 4, PutRefused(Guard::Is(1)))], false);
    verdict(&[(1, 2, put(1)), (3, 4, Put(2, Guard::Is(9)))], false);
    verdict(&[(1, 2, put(1)), (3, 4, DeleteRefused(Guard::Is(1)))], false);
    verdict(&[(1, 2, put(1)), (3, 4, Delete(Guard::Is(1))), (5, 6, Delete(Guard::Is(1)))], false);
}

#[test]
fn a_write_without_an_answer_may_or_may_not_have_happened() {
    let begin = [(1, 2, put(1)), (3, 0, PutUnknown(2))];
    verdict(&[begin[0], begin[1], (4, 5, Saw(1)), (90, 91, Saw(1))], true);
    verdict(&[begin[0], begin[1], (4, 5, Saw(1)), (90, 91, Saw(2))], true);
    verdict(&[begin[0], begin[1], (4, 5, Saw(2)), (90, 91, Saw(1))], false);
}

#[test]
fn the_verdict_is_that_of_trying_every_order() {
    let seed = 7;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut sound = 0;
    for _ in 0..20_000 {
        let history = small_history(&mut random);
        let expected = explained_by_some_order(&history);
        assert_eq!(check(&history).is_ok(), expected, "{history:#?}");
        sound += u32::from(expected);
    }
    assert!((2_000..18_000).contains(&sound), "{sound} of 20,000 are sound: too lopsided to prove");
}

/// Up to seven operations on few values, overlapping at random.
fn small_history(random: &mut Random) -> Vec<Event> {
    let count = 2 + random.below(6);
    (0..count)
        .map(|number| {
            let called = 1 + random.below(16);
            let returned = called + 1 + random.below(10);
            let value = 1 + random.below(3);
            let guards = [Guard::Always, Guard::Is(value), Guard::IsAbsent];
            let guard = guards[random.below(3) as usize];
            let operation = match random.below(12) {
                0..=2 => Put(number + 1, guard),
                3 => PutUnknown(number + 1),
                4 => Delete(guard),
                5 => PutRefused(guard),
                6 => DeleteRefused(guard),
                7 => Nothing,
                8 => SawOther(value),
                _ => Saw(value),
            };
            let is_unknown = matches!(operation, PutUnknown(_));
            event(called, if is_unknown { 0 } else { returned }, operation)
        })
        .collect()
}

/// Tries every order that respects time: slow, and simple enough to be believed.
fn explained_by_some_order(history: &[Event]) -> bool {
    extend(history, 0, ABSENT)
}

fn extend(history: &[Event], done: u32, state: Value) -> bool {
    let open = |number: &usize| done & 1 << number == 0;
    let end = |number: usize| history[number].returned.unwrap_or(u64::MAX);
    let Some(first_end) = (0..history.len()).filter(open).map(end).min() else { return true };
    if first_end == u64::MAX {
        // Only writes without an answer are left: they need not have happened.
        return true;
    }
    (0..history.len()).filter(open).any(|number| {
        let Event { called, operation, .. } = history[number];
        let next = match operation {
            Put(value, Guard::Always) | PutUnknown(value) => Some(value),
            Put(value, Guard::Is(wanted)) => (state == wanted).then_some(value),
            Put(value, Guard::IsAbsent) => (state == ABSENT).then_some(value),
            Delete(Guard::Always) => (state != ABSENT).then_some(ABSENT),
            Delete(Guard::Is(wanted)) => (state == wanted).then_some(ABSENT),
            Delete(Guard::IsAbsent) | PutRefused(Guard::Always) => None,
            DeleteRefused(Guard::Always) => None,
            PutRefused(Guard::Is(value)) | DeleteRefused(Guard::Is(value)) => {
                (state != value).then_some(state)
            }
            PutRefused(Guard::IsAbsent) | DeleteRefused(Guard::IsAbsent) => {
                (state != ABSENT).then_some(state)
            }
            Nothing => (state == ABSENT).then_some(state),
            Saw(value) => (state == value).then_some(state),
            SawOther(value) => (state != value && state != ABSENT).then_some(state),
        };
        called <= first_end && next.is_some_and(|next| extend(history, done | 1 << number, next))
    })
}
