//! When a failure to register the node, or of a heartbeat, is a warning in the log.

use std::time::Duration;

/// A failure is a warning once it has lasted for so long in real time. Before that an API server is
/// just starting, or the next one answers.
const LASTS: Duration = Duration::from_secs(30);
/// The pause between two warnings about the same failure.
const WARN_EVERY: Duration = Duration::from_secs(300);

/// How long something has failed in a row: the renewal of the Lease, for example.
#[derive(Default)]
pub(super) struct Failures {
    /// When it failed first.
    since: Option<clock::Instant>,
    warned: Option<clock::Instant>,
}

impl Failures {
    /// Logs one more failure: `what` cannot be done. It is tried again in any case.
    pub(super) fn note(&mut self, node: &str, what: &str, error: &kube::Error) {
        let error = lang::chain(error);
        match self.is_warning() {
            true => tracing::warn!(node, error, "{what}: trying again and again; does an API server answer?"),
            false => tracing::debug!(node, error, "{what}: trying again"),
        }
    }

    /// Notes that the work has succeeded: the next failure begins a new series.
    pub(super) fn note_success(&mut self) {
        *self = Failures::default();
    }

    /// Counts one more failure. Returns whether it is one to warn of.
    ///
    /// ```text
    /// fails each second    warnings after 30 s, 330 s, 630 s
    /// ```
    fn is_warning(&mut self) -> bool {
        let now = clock::Instant::now();
        let has_lasted = now - *self.since.get_or_insert(now) >= LASTS;
        let is_warning = has_lasted && self.warned.is_none_or(|at| now - at >= WARN_EVERY);
        if is_warning {
            self.warned = Some(now);
        }
        is_warning
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_lasts_is_a_warning_now_and_then() {
        let (mut failures, mut warnings) = (Failures::default(), vec![]);
        for second in 0..700 {
            if failures.is_warning() {
                warnings.push(second);
            }
            clock::pause(Duration::from_secs(1)).await;
        }
        assert_eq!(warnings, [30, 330, 630]);
        failures.note_success();
        assert!(!failures.is_warning(), "another failure begins");
    }
}
