//! Asserts that work grows as its input, and not with its square, for tests.
//!
//! Never a number of milliseconds: how fast a machine is, and what else it does, is no fault of the
//! code. Compared are two runs on the same thread, by the time that the processor spent on this
//! thread, which no other thread lengthens.

/// The large input has so many times the small one's size. Work that is quadratic takes 64 times as
/// long.
const TIMES: usize = 8;
/// More than so many times as long is too much: as far from 8 as from 64.
const LONGER_MAX: u64 = 23;
/// The kernel counts a thread's time when its clock ticks: less than these nanoseconds is not told
/// apart.
const UNCERTAIN: u64 = 60_000_000;
/// The least time of so many runs counts: a run may be lengthened by caches that other programs
/// emptied.
const RUNS: usize = 4;

/// Nanoseconds that this thread has run.
pub fn spent() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Nanoseconds for an input of size `large / TIMES`, and for one of size `large`: the least of
/// `runs` each.
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
/// If the large input takes more than [`LONGER_MAX`] times as long, in each of three trials.
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
