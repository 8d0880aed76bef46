//! Is a history of one key linearizable? Wing and Gong's search for an order that explains every
//! answer and contradicts no client's clock, with Lowe's memory of the states that were tried (as
//! in Porcupine). Calls of unknown outcome may have happened at any time after they began, or
//! never.

use std::collections::HashSet;

/// What a key holds; every write writes another one. [`ABSENT`] if there is no key.
pub(super) type Value = u32;
pub(super) const ABSENT: Value = 0;

/// What was asked, and what came out of it if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Read {
        saw: Value,
    },
    Write {
        value: Value,
    },
    /// `found`: was there anything to delete?
    Delete {
        found: Option<bool>,
    },
    /// "If it is `expect`, make it `value`; else tell me what it is."
    Swap {
        expect: Value,
        value: Value,
        outcome: Option<Result<(), Value>>,
    },
}

impl Action {
    /// Returns the key after it, if it can have happened in `state`. What would change nothing and
    /// tells nothing need not have happened.
    fn after(self, state: Value) -> Option<Value> {
        let (possible, next) = match self {
            Action::Read { saw } => (saw == state, state),
            Action::Write { value } => (true, value),
            Action::Delete { found: None } => (state != ABSENT, ABSENT),
            Action::Delete { found: Some(found) } => (found == (state != ABSENT), ABSENT),
            Action::Swap { expect, value, outcome: None | Some(Ok(())) } => (state == expect, value),
            Action::Swap { expect, outcome: Some(Err(saw)), .. } => (state == saw && state != expect, state),
        };
        possible.then_some(next)
    }
}

/// One call. Times are positions in the order of everything that clients saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub action: Action,
    pub called: u64,
    /// `None`: it may still happen.
    pub returned: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Linearizable,
    Violated,
    /// More states than the budget allows.
    Undecided,
}

/// Judges the calls of one key that does not exist at first; looks at no more than `budget` states.
pub(super) fn judge(calls: &[Call], budget: usize) -> Verdict {
    let mut seen = HashSet::new();
    let mut stack = vec![(vec![0u64; calls.len().div_ceil(64)], ABSENT)];
    while let Some((done, state)) = stack.pop() {
        let left = || (0..calls.len()).filter(|i| done[i / 64] >> (i % 64) & 1 == 0);
        // a call that began after another one returned comes behind it
        let Some(horizon) = left().filter_map(|i| calls[i].returned).min() else {
            return Verdict::Linearizable;
        };
        let mut next: Vec<usize> = left().filter(|i| calls[*i].called < horizon).collect();
        next.sort_by_key(|i| std::cmp::Reverse(calls[*i].returned.unwrap_or(u64::MAX)));
        for i in next {
            let Some(state) = calls[i].action.after(state) else { continue };
            let mut done = done.clone();
            done[i / 64] |= 1 << (i % 64);
            if seen.insert((done.clone(), state)) {
                stack.push((done, state));
            }
        }
        if seen.len() > budget {
            return Verdict::Undecided;
        }
    }
    Verdict::Violated
}

#[cfg(test)]
mod tests {
    use super::*;
    use rng::Rng;

    fn call(action: Action, called: u64, returned: impl Into<Option<u64>>) -> Call {
        Call { action, called, returned: returned.into() }
    }
    fn write(value: Value) -> Action {
        Action::Write { value }
    }
    fn read(saw: Value) -> Action {
        Action::Read { saw }
    }

    #[test]
    fn reads_may_not_go_back() {
        let concurrent = [call(write(1), 0, 9), call(read(0), 1, 2), call(read(1), 3, 4)];
        assert_eq!(judge(&concurrent, 1000), Verdict::Linearizable);
        let back = [call(write(1), 0, 9), call(read(1), 1, 2), call(read(0), 3, 4)];
        assert_eq!(judge(&back, 1000), Verdict::Violated);
    }

    #[test]
    fn what_is_unknown_may_happen_late_or_never_but_not_early() {
        let late = [call(write(1), 0, None), call(write(2), 1, 2), call(read(2), 3, 4), call(read(1), 5, 6)];
        assert_eq!(judge(&late, 1000), Verdict::Linearizable);
        let twice = [late[0], late[1], late[3], call(read(2), 7, 8)];
        assert_eq!(judge(&twice, 1000), Verdict::Violated);
        let early = [call(read(1), 0, 1), call(write(1), 2, None)];
        assert_eq!(judge(&early, 1000), Verdict::Violated);
    }

    #[test]
    fn a_swap_tells_what_stood_in_its_way() {
        let swap = |outcome| Action::Swap { expect: 1, value: 2, outcome: Some(outcome) };
        let lost = [call(write(1), 0, 1), call(swap(Ok(())), 2, 3), call(read(1), 4, 5)];
        assert_eq!(judge(&lost, 1000), Verdict::Violated);
        let refused = [call(write(3), 0, 1), call(swap(Err(3)), 2, 3), call(read(3), 4, 5)];
        assert_eq!(judge(&refused, 1000), Verdict::Linearizable);
        let wrongly = [call(write(1), 0, 1), call(swap(Err(0)), 2, 3)];
        assert_eq!(judge(&wrongly, 1000), Verdict::Violated);
    }

    /// Tries every order of every choice of calls, without any cleverness.
    fn brute(calls: &[Call], left: &[usize], state: Value) -> bool {
        if left.iter().all(|i| calls[*i].returned.is_none()) {
            return true;
        }
        left.iter().any(|i| {
            let rest: Vec<usize> = left.iter().copied().filter(|j| j != i).collect();
            let in_time = rest.iter().all(|j| calls[*j].returned.is_none_or(|r| r > calls[*i].called));
            in_time && calls[*i].action.after(state).is_some_and(|next| brute(calls, &rest, next))
        })
    }

    #[test]
    fn the_search_finds_what_brute_force_finds() {
        let (rng, mut violated) = (Rng::seeded(1), 0);
        for round in 0..3000 {
            let calls: Vec<Call> = (0..rng.range(1, 7))
                .map(|_| {
                    let value = |n| rng.range(0, n) as Value;
                    let action = match rng.range(0, 4) {
                        0 => read(value(4)),
                        1 => write(1 + value(3)),
                        2 => Action::Delete { found: [None, Some(true), Some(false)][value(3) as usize] },
                        _ => Action::Swap {
                            expect: value(4),
                            value: 1 + value(3),
                            outcome: [None, Some(Ok(())), Some(Err(value(4)))][value(3) as usize],
                        },
                    };
                    let called = rng.range(0, 20);
                    call(action, called, rng.chance(0.8).then(|| called + 1 + rng.range(0, 12)))
                })
                .collect();
            let all: Vec<usize> = (0..calls.len()).collect();
            let right = brute(&calls, &all, ABSENT);
            violated += u32::from(!right);
            let verdict = if right { Verdict::Linearizable } else { Verdict::Violated };
            assert_eq!(judge(&calls, usize::MAX), verdict, "round {round}: {calls:?}");
        }
        assert!((300..2700).contains(&violated), "{violated} of 3000 were violations");
    }
}
