//! `--retry`: transfers again what failed in a way that may pass.

use super::super::stdio::write_stderr;
use super::body::Body;
use super::client::Client;
use super::faults::{self, Fault};
use super::messages::warn;
use super::options::{Options, Retries};
use super::report::Report;
use super::transfer::{Transfer, cannot_rewind, transfer};
use clock::Instant;
use std::fs::File;
use std::time::{Duration, SystemTime};

/// The wait before the first retry; each later one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait, except for one that the server asks for.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// A failure that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    /// A time-out, or a name that was not found.
    Timeout,
    Refused,
    Http,
    /// Any other one, which `--retry-all-errors` retries.
    Other,
}

impl Problem {
    /// Returns curl's words for the problem, which stand behind `Problem `.
    fn words(self) -> &'static str {
        match self {
            Problem::Timeout => ": timeout",
            Problem::Refused => ": connection refused",
            Problem::Http => ": HTTP error",
            Problem::Other => "(retrying all errors)",
        }
    }
}

/// What to do about a failure that may pass.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Wait(Duration),
    /// The server asks for a longer wait than `--retry-max-time` allows.
    TooLong,
    GiveUp,
}

/// The retries of one transfer that are left.
struct Left<'a> {
    retries: &'a Retries,
    count: u64,
    wait: Duration,
}

impl<'a> Left<'a> {
    fn new(retries: &'a Retries) -> Left<'a> {
        Left { retries, count: retries.count, wait: retries.delay.unwrap_or(FIRST_WAIT) }
    }

    /// Decides about the next retry. `passed` is the time since the first transfer began,
    /// `server_wait` the wait of `Retry-After`.
    fn next(&mut self, passed: Duration, server_wait: Option<Duration>) -> Step {
        let limit = self.retries.max_time;
        if self.count == 0 || limit.is_some_and(|limit| passed >= limit) {
            return Step::GiveUp;
        }
        if let (Some(server_wait), Some(limit)) = (server_wait, limit)
            && server_wait.saturating_add(passed) > limit
        {
            return Step::TooLong;
        }
        let wait = server_wait.unwrap_or(self.wait);
        self.count -= 1;
        if self.retries.delay.is_none() {
            self.wait = (self.wait * 2).min(WAIT_MAX);
        }
        Step::Wait(wait)
    }
}

/// Transfers one URL, again as often as `--retry` says, and tells each failure. An upload from
/// standard input that was begun is not sent again: only what is left of it would be. `sleep` is
/// `std::thread::sleep` in a program that blocks: the waits of `clock` are for tasks.
pub(super) fn with_retries(
    client: &mut Client<'_>,
    wanted: &Transfer<'_>,
    sleep: impl Fn(Duration),
) -> Report {
    let options = client.options;
    let stdin = wanted.upload.is_some_and(|name| Body::File(name).is_stdin());
    let (begun, mut left) = (Instant::now(), Left::new(&options.retries));
    loop {
        let mut report = Report::new(&wanted.url.url);
        report.nth = wanted.nth;
        let mut result = transfer(client, wanted, &mut report);
        finish_transfer(options, &result, &mut report);
        let Some(problem) = retryable_problem(options, &result, &report) else { return report };
        let server_wait = match problem {
            Problem::Http => report.header("retry-after").and_then(retry_after),
            _ => None,
        };
        let count = left.count;
        let wait = match left.next(begun.elapsed(), server_wait) {
            Step::GiveUp => return report,
            Step::TooLong => {
                print_warning(
                    options,
                    "The Retry-After: time would make this command line exceed the maximum allowed \
                     time for retries.",
                );
                return report;
            }
            Step::Wait(wait) => wait,
        };
        if stdin && report.upload_begun {
            result = Err(cannot_rewind());
            finish_transfer(options, &result, &mut report);
            return report;
        }
        let (what, seconds) = (problem.words(), wait.as_secs());
        print_warning(
            options,
            &format!("Problem {what}. Will retry in {seconds} seconds. {count} retries left."),
        );
        throw_away(options, &report);
        sleep(wait);
    }
}

/// Empties the file of a transfer that is made again, if it wrote there: the next one may write
/// less or nothing. A device has no length and is left as it is.
fn throw_away(options: &Options, report: &Report) {
    let (Some(name), count @ 1..) = (&report.file, report.written) else { return };
    if !options.silent {
        write_stderr(&format!("Throwing away {count} bytes\n"));
    }
    let is_file = std::fs::metadata(name).is_ok_and(|found| found.is_file());
    if is_file && File::create(name).is_err() && !options.silent {
        write_stderr("Failed to truncate file\n");
    }
}

fn print_warning(options: &Options, warning: &str) {
    if !options.silent {
        warn(warning);
    }
}

/// Notes how a transfer ended, and tells its failure.
fn finish_transfer(options: &Options, result: &Result<(), Fault>, report: &mut Report) {
    report.total = report.start.elapsed();
    if let Err(fault) = result {
        report.code = fault.code;
        report.error = Some(fault.text.clone());
        faults::print(options, fault);
    }
}

/// Returns whether a result may pass, as curl 7.88.1 decides it.
fn retryable_problem(options: &Options, result: &Result<(), Fault>, report: &Report) -> Option<Problem> {
    let code = result.as_ref().map_or_else(|fault| fault.code, |()| 0);
    match code {
        6 | 28 => Some(Problem::Timeout),
        7 if options.retries.if_refused && report.refused => Some(Problem::Refused),
        0 | 22 if matches!(report.status, 408 | 429 | 500 | 502..=504) => Some(Problem::Http),
        0 => None,
        _ => options.retries.all_errors.then_some(Problem::Other),
    }
}

/// Returns the wait of `Retry-After`: seconds, or a date. `None` for what is neither, and for the
/// past.
fn retry_after(value: &str) -> Option<Duration> {
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let wait = match value[..digits].parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            date.duration_since(SystemTime::from(clock::now())).ok()?
        }
    };
    // curl counts whole seconds.
    (wait.as_secs() > 0).then(|| Duration::from_secs(wait.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::super::faults::fault;
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn waits_double_up_to_ten_minutes() {
        let retries = Retries { count: 12, ..Retries::default() };
        let mut left = Left::new(&retries);
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] {
            assert_eq!(left.next(seconds(0), None), Step::Wait(seconds(wait)));
        }
        assert_eq!(left.next(seconds(0), None), Step::GiveUp);
    }

    #[test]
    fn the_server_may_ask_for_another_wait() {
        let retries = Retries { count: 9, max_time: Some(seconds(10)), ..Retries::default() };
        let mut left = Left::new(&retries);
        assert_eq!(left.next(seconds(0), Some(seconds(3))), Step::Wait(seconds(3)));
        assert_eq!(left.next(seconds(3), None), Step::Wait(seconds(2)), "it counts as a retry");
        assert_eq!(left.next(seconds(5), Some(seconds(6))), Step::TooLong);
        assert_eq!(left.next(seconds(9), None), Step::Wait(seconds(4)), "only the begin is limited");
        assert_eq!(left.next(seconds(10), None), Step::GiveUp);
        let retries = Retries { count: 3, delay: Some(seconds(5)), ..Retries::default() };
        let mut left = Left::new(&retries);
        for server_wait in [None, Some(seconds(1)), None] {
            assert_eq!(left.next(seconds(0), server_wait), Step::Wait(server_wait.unwrap_or(seconds(5))));
        }
    }

    #[test]
    fn a_wait_is_a_number_or_a_date() {
        clock::pin("2026-01-02T03:04:05Z".parse().unwrap());
        assert_eq!(retry_after("120"), Some(seconds(120)));
        assert_eq!(retry_after("2x"), Some(seconds(2)));
        // The pinned clock goes on.
        let later = retry_after("Fri, 02 Jan 2026 03:06:05 GMT").unwrap();
        assert!((110..=120).contains(&later.as_secs()), "{later:?}");
        for none in ["0", "x", "", "-1", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            assert_eq!(retry_after(none), None, "{none}");
        }
    }

    #[test]
    fn some_failures_may_pass() {
        let problem_of = |retries: Retries, code: i32, status: u16| {
            let options = Options { retries, ..Options::default() };
            let mut report = Report::new("u");
            (report.status, report.refused) = (status, code == 7);
            retryable_problem(&options, &if code == 0 { Ok(()) } else { Err(fault(code, "")) }, &report)
        };
        let none = Retries::default;
        assert_eq!(problem_of(none(), 28, 0), Some(Problem::Timeout));
        assert_eq!(problem_of(none(), 6, 0), Some(Problem::Timeout));
        assert_eq!(problem_of(none(), 0, 503), Some(Problem::Http));
        assert_eq!(problem_of(none(), 22, 429), Some(Problem::Http));
        assert_eq!(problem_of(none(), 0, 404), None);
        assert_eq!(problem_of(none(), 22, 404), None);
        assert_eq!(problem_of(none(), 7, 0), None);
        assert_eq!(problem_of(none(), 18, 503), None);
        let all = || Retries { all_errors: true, ..Retries::default() };
        assert_eq!(problem_of(all(), 7, 0), Some(Problem::Other));
        assert_eq!(problem_of(all(), 22, 404), Some(Problem::Other));
        assert_eq!(problem_of(all(), 0, 404), None);
        let refused = Retries { if_refused: true, ..Retries::default() };
        assert_eq!(problem_of(refused, 7, 0), Some(Problem::Refused));
    }
}
