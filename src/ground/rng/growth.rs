//! Asserts that work grows linearly with its input and not quadratically, for tests.
//!
//! It never compares with a number of milliseconds, which depends on the machine and on what else
//! runs there. It compares two runs on the same thread, by the processor time of this thread, to
//! which no other thread adds.

/// The large input is so many times as large as the small one. Work that is quadratic takes 64
/// times as long.
const TIMES: usize = 8;
/// Linear work takes at most so many times as long: the geometric mean of 8 and 64.
const LONGER_MAX: u64 = 23;
/// Nanoseconds by which a measured time may be wrong: the kernel counts a thread's time when its
/// clock ticks.
const UNCERTAIN: u64 = 60_000_000;
/// The least time of so many runs counts: other programs may lengthen a run by emptying caches.
const RUNS: usize = 4;

/// Where the kernel tells the processor time of a thread, if it was built with `SCHED_INFO`.
const SCHEDSTAT: &str = "/proc/thread-self/schedstat";

/// Returns the processor time of this thread in nanoseconds.
pub fn spent() -> u64 {
    let text = std::fs::read_to_string(SCHEDSTAT).unwrap_or_else(|e| panic!("{SCHEDSTAT}: {e}"));
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Returns the nanoseconds for an input of size `large / TIMES`, and for one of size `large`: the
/// least of `runs` each.
fn measure<T>(runs: usize, large: usize, prepare: &impl Fn(usize) -> T, work: &impl Fn(T)) -> (u64, u64) {
    let least = |size: usize| {
        let runs = (0..runs).map(|_| {
            let input = prepare(size);
            let before = spent();
            work(input);
            spent() - before
        });
        runs.min().unwrap()
    };
    (least(large / TIMES), least(large))
}

fn is_too_much((short, long): (u64, u64)) -> bool {
    long > LONGER_MAX * short + UNCERTAIN
}

/// Runs `work` on inputs of `prepare`, of size `large` and an eighth of it.
///
/// # Panics
/// If the large input takes more than [`LONGER_MAX`] times as long, and [`UNCERTAIN`] more, in each
/// of three trials.
pub fn grows_as_its_input<T>(what: &str, large: usize, prepare: impl Fn(usize) -> T, work: impl Fn(T)) {
    let mut tried = vec![];
    while tried.len() < 3 {
        let measured = measure(RUNS, large, &prepare, &work);
        if !is_too_much(measured) {
            return;
        }
        tried.push(measured);
    }
    panic!("{what}: nanoseconds, and those for {TIMES} times as much: {tried:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_is_told_from_a_line() {
        let numbers = |n: usize| (0..n as u64).collect::<Vec<_>>();
        let line = |numbers: Vec<u64>| assert!(numbers.iter().all(|n| std::hint::black_box(*n) < u64::MAX));
        grows_as_its_input("a line", 1_000_000, numbers, line);
        let square = |numbers: Vec<u64>| {
            for n in &numbers {
                assert!(numbers.iter().all(|m| std::hint::black_box(n ^ m) < u64::MAX));
            }
        };
        let measured = measure(1, 16_000, &numbers, &square);
        assert!(is_too_much(measured), "the square was not noticed: {measured:?}");
    }
}
