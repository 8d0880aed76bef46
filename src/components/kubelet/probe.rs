//! One probe of one container: when it is due, and what its answers amount to. Pure.

use k8s_openapi::api::core::v1::{Container as Spec, Probe};
use std::collections::BTreeMap;
use std::time::Duration;

/// In this order: a startup probe silences the others until it succeeds.
///
/// ```text
/// startup     not yet: the other two are not asked    failed: the container is restarted
/// readiness   failed: its pod gets no requests        well again: it gets them again
/// liveness    failed: the container is restarted
/// ```
///
/// A slow start needs a startup probe, not a liveness probe with a long delay: the delay would also
/// hold later, when a hanging program should be found soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Startup,
    Readiness,
    Liveness,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Startup, Kind::Readiness, Kind::Liveness];

    /// Returns the name in Events about results: `Liveness probe failed: …`.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Readiness => "Readiness",
            Kind::Liveness => "Liveness",
        }
    }

    /// Returns the name in Events about restarts: `failed liveness probe, will be restarted`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Startup => "startup",
            Kind::Readiness => "readiness",
            Kind::Liveness => "liveness",
        }
    }

    pub(crate) fn of(self, spec: &Spec) -> Option<&Probe> {
        match self {
            Kind::Startup => spec.startup_probe.as_ref(),
            Kind::Readiness => spec.readiness_probe.as_ref(),
            Kind::Liveness => spec.liveness_probe.as_ref(),
        }
    }
}

/// A probe's numbers, with the API's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub initial_delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    pub success: u32,
    pub failure: u32,
}

impl Numbers {
    /// Reads the numbers of a probe, with the defaults of those that it does not say. With all of
    /// these a liveness probe finds a hanging program after some 30 s: three failures in a row, one
    /// each 10 s.
    pub(crate) fn of(probe: &Probe) -> Numbers {
        let number = |value: Option<i32>, default: u32| {
            value.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default)
        };
        let seconds = |value, default| Duration::from_secs(number(value, default).into());
        Numbers {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            success: number(probe.success_threshold, 1),
            failure: number(probe.failure_threshold, 3),
        }
    }
}

/// Counts the consecutive results of one probe against `successThreshold` and `failureThreshold`.
/// The probe's state changes when as many equal results as the threshold says have come in a row; a
/// single other result does not change it.
///
/// ```text
/// failureThreshold 3, successThreshold 1
/// result   ok          fail  fail  ok   fail  fail  fail         ok
/// state    succeeded   -     -     -    -     -     failed       succeeded      (- = as before)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResultRun {
    numbers: Numbers,
    /// The state: succeeded (`true`) or failed; `None` until the first threshold is reached.
    well: Option<bool>,
    /// The last result.
    last: Option<bool>,
    /// How many results in a row were equal to the last one.
    run: u32,
}

impl ResultRun {
    pub(crate) fn new(numbers: Numbers) -> ResultRun {
        ResultRun { numbers, well: None, last: None, run: 0 }
    }

    /// Counts one result, `true` for success. Returns the new state if this result changes it.
    pub(crate) fn count(&mut self, well: bool) -> Option<bool> {
        self.run = if self.last == Some(well) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(well);
        let threshold = if well { self.numbers.success } else { self.numbers.failure };
        if self.run < threshold || self.well == Some(well) {
            return None;
        }
        self.well = Some(well);
        Some(well)
    }
}

/// Results of the probes of a running container. `None`: it has no such probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Probed {
    pub started: Option<bool>,
    pub ready: Option<bool>,
}

/// Results of the probes of a pod's containers, by container name.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProbeResults {
    pub probed: BTreeMap<String, Probed>,
    pub failed: BTreeMap<String, Kind>,
}

impl ProbeResults {
    /// Marks containers whose postStart hook failed: they run until they are ended, and are neither
    /// started nor ready.
    pub(crate) fn mark_post_start_failed<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            self.probed.insert(name.to_string(), Probed { started: Some(false), ready: Some(false) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(success: i32, failure: i32) -> Numbers {
        Numbers::of(&Probe {
            success_threshold: Some(success),
            failure_threshold: Some(failure),
            ..Probe::default()
        })
    }

    #[test]
    fn silence_means_the_defaults_of_the_api() {
        let n = Numbers::of(&Probe::default());
        assert_eq!(
            (n.initial_delay, n.period, n.timeout),
            (Duration::ZERO, Duration::from_secs(10), Duration::from_secs(1))
        );
        assert_eq!((n.success, n.failure), (1, 3));
    }

    #[test]
    fn only_so_many_equal_answers_in_a_row_decide() {
        let mut v = ResultRun::new(numbers(2, 3));
        assert_eq!([v.count(true), v.count(true), v.count(true)], [None, Some(true), None]);
        assert_eq!([v.count(false), v.count(false), v.count(true)], [None, None, None]);
        assert_eq!([v.count(false), v.count(false), v.count(false)], [None, None, Some(false)]);
        assert_eq!([v.count(true), v.count(true)], [None, Some(true)]);
    }
}
