//! Sweeps over seeds. A failure names its seed; that seed is the test that shows the bug again.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns the number that a variable of the environment holds; `None` if it is not set. A test
/// that was asked for `100_000` histories and ran the usual few would be green for the wrong
/// reason: what is no number is a panic.
pub(crate) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a whole number")))
}

/// Runs `ROPEWALK_SEEDS` histories (or `default`) from `ROPEWALK_SEED_FROM` on (or 0). Fails after
/// the last one if any of them failed, naming every seed that did. `None`: so few were asked for
/// that they prove nothing as a whole.
pub fn sweep<T>(test: &str, default: u64, run: impl Fn(u64) -> T, mut add: impl FnMut(T)) -> Option<u64> {
    let (first, seeds) =
        (number("ROPEWALK_SEED_FROM").unwrap_or(0), number("ROPEWALK_SEEDS").unwrap_or(default));
    let mut failed = vec![];
    for seed in first..first + seeds {
        match catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok(ran) => add(ran),
            Err(_) => {
                eprintln!("again with: ROPEWALK_SEEDS=1 ROPEWALK_SEED_FROM={seed} {}", command(test));
                failed.push(seed);
            }
        }
    }
    assert!(failed.is_empty(), "{test}: {} of {seeds} seeds failed: {failed:?}", failed.len());
    (seeds >= default).then_some(seeds)
}

/// The command that runs `ROOM::PATH`, a test by its room and its place in it.
pub fn command(test: &str) -> String {
    let (room, path) = test.split_once("::").unwrap_or((test, ""));
    format!("cargo test -p {room} --lib {path}")
}

/// How many histories with a planted bug it takes until one is noticed; `None` if none of `most`
/// is.
pub fn caught_after<T>(most: u64, run: impl Fn(u64) -> T) -> Option<u64> {
    // the panics are wanted: each is an assertion that noticed
    (0..most).find(|seed| catch_unwind(AssertUnwindSafe(|| run(*seed))).is_err()).map(|seed| seed + 1)
}
