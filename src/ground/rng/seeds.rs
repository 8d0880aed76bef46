//! Sweeps over seeds. A failure names its seed; that seed is the test that shows the bug again.

use std::ffi::OsString;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns the number that a variable of the environment holds; `None` if it is not set.
///
/// # Panics
/// The variable holds anything else. A test that was asked for `100_000` histories and ran the
/// usual few would pass for the wrong reason.
pub(crate) fn number(name: &str) -> Option<u64> {
    whole_number(name, std::env::var_os(name))
}

fn whole_number(name: &str, value: Option<OsString>) -> Option<u64> {
    let text = value?.to_string_lossy().into_owned();
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a whole number")))
}

/// The same for a variable that says how much is tried.
///
/// # Panics
/// It is 0, too: with nothing tried a test would pass.
pub(crate) fn amount(name: &str) -> Option<u64> {
    at_least_one(name, number(name))
}

fn at_least_one(name: &str, number: Option<u64>) -> Option<u64> {
    assert!(number != Some(0), "{name}=0: nothing would be tried");
    number
}

/// Runs `ROPEWALK_SEEDS` histories (or `default`) from `ROPEWALK_SEED_FROM` on (or 0), and gives
/// what each returned to `add`. Returns how many there were; `None` if fewer than `default` were
/// asked for, which prove nothing as a whole.
///
/// # Panics
/// After the last history, if any of them panicked: the text names every seed that did. At once if
/// a variable holds no number, `ROPEWALK_SEEDS` is 0, or there are not so many seeds.
pub fn sweep<T>(test: &str, default: u64, run: impl Fn(u64) -> T, add: impl FnMut(T)) -> Option<u64> {
    let (first, seeds) =
        (number("ROPEWALK_SEED_FROM").unwrap_or(0), amount("ROPEWALK_SEEDS").unwrap_or(default));
    let failed = failed_seeds(test, seeds_from(first, seeds), run, add);
    assert!(failed.is_empty(), "{test}: {} of {seeds} seeds failed: {failed:?}", failed.len());
    (seeds >= default).then_some(seeds)
}

/// A range that is cut off at the largest seed could be empty, and the test would pass.
pub(crate) fn seeds_from(first: u64, seeds: u64) -> Range<u64> {
    let end = first.checked_add(seeds);
    first..end.unwrap_or_else(|| panic!("ROPEWALK_SEED_FROM={first}: no {seeds} seeds follow"))
}

fn failed_seeds<T>(
    test: &str,
    seeds: Range<u64>,
    run: impl Fn(u64) -> T,
    mut add: impl FnMut(T),
) -> Vec<u64> {
    let mut failed = vec![];
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok(ran) => add(ran),
            Err(_) => {
                eprintln!("again with: ROPEWALK_SEEDS=1 ROPEWALK_SEED_FROM={seed} {}", command(test));
                failed.push(seed);
            }
        }
    }
    failed
}

/// Returns the command that runs the test `ROOM::PATH`.
pub fn command(test: &str) -> String {
    let (room, path) = test.split_once("::").unwrap_or((test, ""));
    format!("cargo test -p {room} --lib {path}")
}

/// Returns how many histories with a planted bug it takes until one panics; `None` if none of
/// `most` does.
pub fn caught_after<T>(most: u64, run: impl Fn(u64) -> T) -> Option<u64> {
    // the panics are wanted: each is an assertion that noticed
    (0..most).find(|seed| catch_unwind(AssertUnwindSafe(|| run(*seed))).is_err()).map(|seed| seed + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_that_fails_is_named_and_the_others_are_added() {
        let mut added = vec![];
        let run = |seed: u64| {
            assert!(seed % 3 != 1, "every third one");
            seed
        };
        assert_eq!(failed_seeds("raft::sim::some", 3..9, run, |seed| added.push(seed)), [4, 7]);
        assert_eq!(added, [3, 5, 6, 8]);
    }

    #[test]
    fn a_test_is_run_again_by_its_room_and_path() {
        assert_eq!(command("raft::sim::some"), "cargo test -p raft --lib sim::some");
    }

    #[test]
    fn a_planted_bug_is_counted_from_the_first_seed() {
        assert_eq!(caught_after(10, |seed| assert!(seed < 4)), Some(5));
        assert_eq!(caught_after(4, |seed| assert!(seed < 4)), None);
    }

    #[test]
    fn a_run_of_nothing_does_not_pass() {
        let read = |number: Option<u64>| {
            let read = || at_least_one("ROPEWALK_SEEDS", number);
            catch_unwind(read).map_err(|panic| crate::fuzz::said(&*panic))
        };
        assert_eq!((read(None), read(Some(1))), (Ok(None), Ok(Some(1))));
        assert_eq!(read(Some(0)), Err("ROPEWALK_SEEDS=0: nothing would be tried".into()));
        assert_eq!(seeds_from(u64::MAX - 2, 2), u64::MAX - 2..u64::MAX);
        let last = catch_unwind(|| seeds_from(u64::MAX, 2)).map_err(|panic| crate::fuzz::said(&*panic));
        assert_eq!(last, Err("ROPEWALK_SEED_FROM=18446744073709551615: no 2 seeds follow".into()));
    }

    #[test]
    fn a_variable_that_holds_no_number_is_not_taken_for_one_that_is_not_set() {
        use std::os::unix::ffi::OsStringExt;
        let read = |value: Option<OsString>| {
            catch_unwind(|| whole_number("ROPEWALK_SEEDS", value)).map_err(|panic| crate::fuzz::said(&*panic))
        };
        assert_eq!(read(None), Ok(None));
        assert_eq!(read(Some("20".into())), Ok(Some(20)));
        assert_eq!(read(Some("2_0".into())), Err("ROPEWALK_SEEDS=2_0: not a whole number".into()));
        let not_text = OsString::from_vec(vec![b'7', 0xff]);
        assert_eq!(read(Some(not_text)), Err("ROPEWALK_SEEDS=7\u{fffd}: not a whole number".into()));
    }
}
