//! How fast a number of replicas may change: pure. What was recommended and what was done a short
//! while ago is remembered ([`Past`]), in memory only, as upstream does: after a restart an
//! autoscaler begins anew, with its present size as the first recommendation. Source:
//! `pkg/controller/podautoscaler/horizontal.go`.

use clock::Instant;
use k8s_openapi::api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerSpec};
use std::time::Duration;

/// The number of replicas falls no lower than the highest recommendation of this time, unless the
/// behavior has another one.
const DOWN_WINDOW: Duration = Duration::from_secs(300);
/// Without a behavior: at once to twice as many, but at least to so many.
const UP_LEAST: i32 = 4;

/// The recommendations and changes of an autoscaler in the last hour.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    recommended: Vec<(Instant, i32)>,
    /// By how many replicas it changed.
    changed: Vec<(Instant, i32)>,
}

/// A condition: its reason and message.
pub(crate) type Reason = (&'static str, &'static str);

/// A recommendation within the limits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limited {
    pub replicas: i32,
    /// Why it was held back for a while.
    pub stabilized: Option<Reason>,
    /// What bounded it, if anything did.
    pub limited: Option<Reason>,
}

impl Past {
    /// Remembers that the scale was changed at `now`: `by` replicas more, or fewer if negative. The
    /// scaling policies count these. Without a behavior there is no policy, and nothing is
    /// remembered, as upstream (`storeScaleEvent`): what was done before a behavior was set is no
    /// part of its periods.
    pub(crate) fn change(&mut self, spec: &HorizontalPodAutoscalerSpec, now: Instant, by: i32) {
        if spec.behavior.is_some() {
            self.changed.push((now, by));
        }
    }

    /// Returns how many replicas were added (or taken away) in the last so many seconds, and no
    /// more than can be counted.
    fn sum(&self, now: Instant, seconds: i32, up: bool) -> i32 {
        let period = Duration::from_secs(seconds.max(0) as u64);
        let recent = self.changed.iter().filter(|(at, _)| clock::passed(*at, now) < period);
        let parts = recent.map(|(_, by)| if up { (*by).max(0) } else { by.saturating_neg().max(0) });
        parts.fold(0, i32::saturating_add)
    }

    /// Counts the present size as what was wanted if nothing is known of the time before, as after
    /// a restart, so that a window holds from now on.
    pub(crate) fn begin(&mut self, now: Instant, current: i32) {
        if self.recommended.is_empty() {
            self.recommended.push((now, current));
        }
    }

    fn forget(&mut self, now: Instant) {
        let recent = |at: &Instant| clock::passed(*at, now) < Duration::from_secs(3600);
        self.recommended.retain(|(at, _)| recent(at));
        self.changed.retain(|(at, _)| recent(at));
    }
}

fn window(rules: Option<&HPAScalingRules>, default: Duration) -> Duration {
    let set = rules.and_then(|r| r.stabilization_window_seconds);
    set.map_or(default, |s| Duration::from_secs(s.max(0) as u64))
}

/// Returns how far the rules let the number go from `current`.
///
/// The policies "4 pods in 15 s" and "100 % in 15 s", up from 10 replicas: 14 and 20 are allowed,
/// so 20 with `selectPolicy: Max` and 14 with `Min`. Ten seconds later 6 of them have been added:
/// the period still began at 10, so the bound is still 20 and not 32. Upstream:
/// `calculateScaleUpLimitWithScalingRules`.
fn bound(rules: &HPAScalingRules, past: &Past, current: i32, up: bool, now: Instant) -> i32 {
    if rules.select_policy.as_deref() == Some("Disabled") {
        return current;
    }
    let bounds = rules.policies.iter().flatten().map(|policy| {
        let done = |up| past.sum(now, policy.period_seconds, up);
        let start = current.saturating_sub(done(true)).saturating_add(done(false)); // at its begin
        match (policy.type_.as_str(), up) {
            ("Pods", true) => start.saturating_add(policy.value),
            ("Pods", false) => start.saturating_sub(policy.value),
            (_, true) => (f64::from(start) * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i32,
            (_, false) => (f64::from(start) * (1.0 - f64::from(policy.value) / 100.0)) as i32,
        }
    });
    // "Max" lets the number change as much as any policy allows.
    let widest = (rules.select_policy.as_deref() != Some("Min")) == up;
    let bound = if widest { bounds.max() } else { bounds.min() };
    let bound = bound.unwrap_or(if up { i32::MAX } else { 0 });
    if up { bound.max(current) } else { bound.min(current) }
}

/// Holds a recommendation against those of the time before, and remembers it. Returns what remains
/// of it, and why that is another number.
///
/// Without a behavior that is the highest recommendation of the window, even if it is more than
/// there are now, as upstream. With one the present size stays while it is within what was
/// recommended.
///
/// ```text
/// 10 were wanted 15 s ago and made 4 of 2, as fast as may be; now 4 are wanted
/// without a behavior   10: the next step
/// with a behavior      4
/// ```
fn stabilize(
    spec: &HorizontalPodAutoscalerSpec,
    past: &mut Past,
    current: i32,
    wanted: i32,
    now: Instant,
) -> (i32, Option<Reason>) {
    let behavior = spec.behavior.as_ref();
    let up_window = window(behavior.and_then(|b| b.scale_up.as_ref()), Duration::ZERO);
    let down_window = window(behavior.and_then(|b| b.scale_down.as_ref()), DOWN_WINDOW);
    let within = |window: Duration| {
        let recent = past.recommended.iter().filter(move |(at, _)| clock::passed(*at, now) < window);
        recent.map(|(_, n)| *n).chain([wanted])
    };
    // Up to the lowest, down to the highest that was recommended of late.
    let (up_to, down_to) =
        (within(up_window).min().unwrap_or(wanted), within(down_window).max().unwrap_or(wanted));
    past.recommended.push((now, wanted));
    let steady = match behavior {
        None => down_to,
        Some(_) => current.max(up_to).min(down_to),
    };
    let why = match steady.cmp(&wanted) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some((
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent recommendation",
        )),
        std::cmp::Ordering::Less => Some((
            "ScaleUpStabilized",
            "recent recommendations were lower than current one, applying the lowest recent recommendation",
        )),
    };
    (steady, why)
}

/// Pure (but for what it adds to the past): the number that a recommendation comes to.
///
/// Without a behavior, from 1 replica, of which the metric wants 10, with `maxReplicas: 8`:
///
/// ```text
/// 1 -> 4   ScaleUpLimit: at most twice as many, but at least 4
/// 4 -> 8   TooManyReplicas
/// 8 -> 8   the load is gone and 1 is wanted: ScaleDownStabilized for 300 s
/// 8 -> 1   nothing more was wanted within the last 300 s
/// ```
///
/// Up fast and down late, because a pod too few costs users something, and load often comes back.
pub(crate) fn limit(
    spec: &HorizontalPodAutoscalerSpec,
    past: &mut Past,
    current: i32,
    wanted: i32,
    now: Instant,
) -> Limited {
    past.begin(now, current);
    past.forget(now);
    let (steady, stabilized) = stabilize(spec, past, current, wanted, now);
    let behavior = spec.behavior.as_ref();
    let (up, down) =
        (behavior.and_then(|b| b.scale_up.as_ref()), behavior.and_then(|b| b.scale_down.as_ref()));
    let least = spec.min_replicas.unwrap_or(1);
    let mut replicas = steady;
    let mut limited = None;
    if steady > current {
        let fast = match up {
            Some(rules) => bound(rules, past, current, true, now),
            None if behavior.is_some() => i32::MAX,
            None => current.saturating_mul(2).max(UP_LEAST),
        };
        let most = fast.min(spec.max_replicas);
        if steady > most {
            replicas = most;
            limited = Some(match fast < spec.max_replicas {
                true => (
                    "ScaleUpLimit",
                    "the desired replica count is increasing faster than the maximum scale rate",
                ),
                false => {
                    ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
                }
            });
        }
    } else if steady < current {
        let slow = down.map_or(0, |rules| bound(rules, past, current, false, now));
        let fewest = slow.max(least);
        if steady < fewest {
            replicas = fewest;
            limited = Some(match slow > least {
                true => (
                    "ScaleDownLimit",
                    "the desired replica count is decreasing faster than the maximum scale rate",
                ),
                false => {
                    ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
                }
            });
        }
    } else if steady > spec.max_replicas {
        replicas = spec.max_replicas;
        limited =
            Some(("TooManyReplicas", "the desired replica count is more than the maximum replica count"));
    } else if steady < least {
        replicas = least;
        limited =
            Some(("TooFewReplicas", "the desired replica count is less than the minimum replica count"));
    }
    Limited { replicas, stabilized, limited }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(behavior: Value) -> HorizontalPodAutoscalerSpec {
        let target = json!({"kind": "Deployment", "name": "d"});
        serde_json::from_value(
            json!({"minReplicas": 2, "maxReplicas": 20, "scaleTargetRef": target, "behavior": behavior}),
        )
        .unwrap()
    }

    fn at(seconds: u64) -> Instant {
        use std::sync::OnceLock;
        static START: OnceLock<Instant> = OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_secs(seconds)
    }

    #[test]
    fn up_is_quick_and_down_waits_for_the_window() {
        let (spec, mut past) = (spec(Value::Null), Past::default());
        let first = limit(&spec, &mut past, 3, 15, at(0));
        assert_eq!((first.replicas, first.limited.unwrap().0), (6, "ScaleUpLimit"));
        assert_eq!(limit(&spec, &mut past, 15, 40, at(15)).limited.unwrap().0, "TooManyReplicas");
        let down = limit(&spec, &mut past, 20, 1, at(60));
        assert_eq!((down.replicas, down.stabilized.unwrap().0), (20, "ScaleDownStabilized"));
        let down = limit(&spec, &mut past, 20, 1, at(15 + 301));
        assert_eq!((down.replicas, down.limited.unwrap().0), (2, "TooFewReplicas"));
    }

    #[test]
    fn without_a_behavior_the_highest_recommendation_of_the_window_is_reached() {
        let window = json!({"scaleDown": {"stabilizationWindowSeconds": 300}});
        for (behavior, first, next) in [(Value::Null, 4, 8), (window, 10, 10)] {
            let (spec, mut past) = (spec(behavior), Past::default());
            assert_eq!(limit(&spec, &mut past, 2, 10, at(3000)).replicas, first);
            let then = limit(&spec, &mut past, first, 4, at(3015));
            assert_eq!((then.replicas, then.stabilized.unwrap().0), (next, "ScaleDownStabilized"));
        }
        // A size within what was recommended stays, if there is a behavior.
        for (behavior, want) in [(Value::Null, 8), (json!({}), 4)] {
            let (spec, mut past) = (spec(behavior), Past::default());
            limit(&spec, &mut past, 2, 10, at(4000));
            assert_eq!(limit(&spec, &mut past, 4, 4, at(4015)).replicas, want);
        }
    }

    #[test]
    fn a_policy_may_allow_any_number() {
        let policies = json!([{"type": "Pods", "value": i32::MAX, "periodSeconds": 60}]);
        let spec = spec(
            json!({"scaleUp": {"policies": policies}, "scaleDown": {"stabilizationWindowSeconds": 0, "policies": policies}}),
        );
        assert_eq!(limit(&spec, &mut Past::default(), 10, 15, at(0)).replicas, 15);
        assert_eq!(limit(&spec, &mut Past::default(), 10, 3, at(0)).replicas, 3);
    }

    /// A user sets the target to the largest number twice, and twice it is taken back.
    #[test]
    fn changes_of_any_size_are_counted() {
        let policy = json!([{"type": "Pods", "value": 4, "periodSeconds": 60}]);
        let rules = json!({"stabilizationWindowSeconds": 0, "policies": policy});
        let (spec, mut past) = (spec(json!({"scaleUp": rules, "scaleDown": rules})), Past::default());
        for second in 0..2 {
            past.change(&spec, at(5000 + second), -i32::MAX);
        }
        assert_eq!(limit(&spec, &mut past, 10, 3, at(5010)).replicas, 10, "far more than 4 are gone");
    }

    #[test]
    fn policies_bound_the_pace() {
        let policy = json!([{"type": "Pods", "value": 2, "periodSeconds": 60}, {"type": "Percent", "value": 10, "periodSeconds": 60}]);
        let behavior = |select: &str| {
            let rules = json!({"stabilizationWindowSeconds": 0, "selectPolicy": select, "policies": policy});
            spec(json!({"scaleUp": rules, "scaleDown": rules}))
        };
        let mut past = Past::default();
        assert_eq!(limit(&behavior("Max"), &mut past, 10, 20, at(0)).replicas, 12);
        assert_eq!(limit(&behavior("Min"), &mut past, 10, 20, at(0)).replicas, 11);
        assert_eq!(limit(&behavior("Max"), &mut past, 10, 2, at(0)).replicas, 8);
        assert_eq!(limit(&behavior("Min"), &mut past, 10, 2, at(0)).replicas, 9);
        assert_eq!(limit(&behavior("Disabled"), &mut past, 10, 2, at(0)).replicas, 10);
        past.change(&behavior("Max"), at(0), 2);
        assert_eq!(
            limit(&behavior("Max"), &mut past, 12, 20, at(30)).replicas,
            12,
            "already two in this minute"
        );
        assert_eq!(limit(&behavior("Max"), &mut past, 12, 20, at(61)).replicas, 14);
    }

    #[test]
    fn changes_from_before_the_behavior_are_no_part_of_its_periods() {
        let policy = json!([{"type": "Pods", "value": 4, "periodSeconds": 60}]);
        let with = spec(json!({"scaleUp": {"stabilizationWindowSeconds": 0, "policies": policy}}));
        let mut past = Past::default();
        past.change(&spec(Value::Null), at(6000), 6);
        assert_eq!(limit(&with, &mut past, 10, 20, at(6010)).replicas, 14);
        past.change(&with, at(6010), 4);
        assert_eq!(limit(&with, &mut past, 14, 20, at(6020)).replicas, 14, "these count");
    }

    #[test]
    fn after_a_restart_fewer_are_wanted_for_a_whole_window_first() {
        let (spec, mut past) = (spec(Value::Null), Past::default());
        let first = limit(&spec, &mut past, 10, 1, at(1000));
        assert_eq!((first.replicas, first.stabilized.unwrap().0), (10, "ScaleDownStabilized"));
        assert_eq!(limit(&spec, &mut past, 10, 1, at(1299)).replicas, 10);
        assert_eq!(limit(&spec, &mut past, 10, 1, at(1300)).replicas, 2);
        let _scale = clock::pin_scale(20);
        let mut past = Past::default();
        assert_eq!(limit(&spec, &mut past, 10, 1, at(1000)).replicas, 10);
        assert_eq!(limit(&spec, &mut past, 10, 1, at(1014)).replicas, 10);
        assert_eq!(limit(&spec, &mut past, 10, 1, at(1015)).replicas, 2, "300 s of the cluster");
    }

    #[test]
    fn a_period_begins_with_what_was_there_before_both_ways() {
        let policy = json!([{"type": "Pods", "value": 4, "periodSeconds": 60}]);
        let rules = json!({"stabilizationWindowSeconds": 0, "policies": policy});
        let (spec, mut past) = (spec(json!({"scaleUp": rules, "scaleDown": rules})), Past::default());
        // From 10 up to 14, and down to 11 in the same minute.
        past.change(&spec, at(2000), 4);
        past.change(&spec, at(2010), -3);
        assert_eq!(limit(&spec, &mut past, 11, 20, at(2020)).replicas, 14);
        assert_eq!(limit(&spec, &mut past, 11, 2, at(2020)).replicas, 6);
    }
}
