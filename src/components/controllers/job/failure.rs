//! What the failure of one pod means for its Job: `spec.podFailurePolicy`, whose first matching
//! rule decides. Source: `pkg/controller/job/pod_failure_policy.go`.

use k8s_openapi::api::batch::v1::{PodFailurePolicy, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// What a rule says about a failed pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The failure counts towards the back-off limit, as it does without a rule.
    Count,
    /// The failure counts nowhere.
    Ignore,
    /// The pod's index has failed for good.
    FailIndex,
    /// The whole Job has failed, for this reason.
    FailJob(String),
}

/// Pure: the first rule that matches decides.
///
/// Not every failure is the program's fault (KEP-3329). Rule 0: FailJob if the exit code is 42.
/// Rule 1: Ignore if the pod has the condition DisruptionTarget.
///
/// ```text
/// exit code 42                         FailJob: the program says that another try is useless
/// drained node, DisruptionTarget       Ignore: replaced, and not counted
/// exit code 1                          Count: no rule matches
/// drained node, exit code 42           FailJob: rule 0 comes first
/// ```
pub(super) fn verdict(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Verdict {
    for (i, rule) in policy.iter().flat_map(|p| &p.rules).enumerate() {
        let Some(why) = matches(rule, i, pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Verdict::Ignore,
            "FailIndex" => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(why),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

/// Returns the message for the Job's condition if the rule matches. Exit code 0 never matches:
/// `NotIn` would otherwise match every container that ended well.
fn matches(rule: &PodFailurePolicyRule, number: usize, pod: &Pod) -> Option<String> {
    let name = format!(
        "{}/{}",
        pod.metadata.namespace.as_deref().unwrap_or_default(),
        pod.metadata.name.as_deref().unwrap_or_default()
    );
    let action = &rule.action;
    let status = pod.status.as_ref()?;
    if let Some(codes) = &rule.on_exit_codes {
        // Ordinary containers first, as upstream: of two that match, the message names one.
        let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        for container in all.filter(|c| codes.container_name.as_ref().is_none_or(|n| *n == c.name)) {
            let Some(code) = exit_code(container).filter(|c| *c != 0) else { continue };
            if codes.values.contains(&code) == (codes.operator == "In") {
                return Some(format!(
                    "Container {} for pod {name} failed with exit code {code} matching {action} rule at index {number}",
                    container.name
                ));
            }
        }
    }
    for pattern in rule.on_pod_conditions.iter().flatten() {
        let wanted = pattern.status.as_deref().unwrap_or("True");
        let conditions = status.conditions.iter().flatten();
        if let Some(found) = conditions.into_iter().find(|c| c.type_ == pattern.type_ && c.status == wanted) {
            return Some(format!(
                "Pod {name} has condition {} matching {action} rule at index {number}",
                found.type_
            ));
        }
    }
    None
}

fn exit_code(container: &ContainerStatus) -> Option<i32> {
    Some(container.state.as_ref()?.terminated.as_ref()?.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_matching_rule_decides() {
        let policy: PodFailurePolicy = serde_json::from_value(json!({"rules": [
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailIndex", "onExitCodes": {"containerName": "main", "operator": "NotIn", "values": [1]}},
        ]}))
        .unwrap();
        let pod = |code: i32, disrupted: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "d"}, "status": {
                "containerStatuses": [{"name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": code}}}],
                "conditions": [{"type": "DisruptionTarget", "status": disrupted}],
            }}))
            .unwrap()
        };
        let message = "Container main for pod d/p failed with exit code 42 matching FailJob rule at index 0";
        assert_eq!(verdict(Some(&policy), &pod(42, "False")), Verdict::FailJob(message.into()));
        assert_eq!(verdict(Some(&policy), &pod(2, "True")), Verdict::Ignore);
        assert_eq!(verdict(Some(&policy), &pod(2, "False")), Verdict::FailIndex);
        assert_eq!(verdict(Some(&policy), &pod(1, "False")), Verdict::Count);
        assert_eq!(verdict(None, &pod(42, "False")), Verdict::Count);
    }

    /// A sidecar may end badly because the program beside it did.
    #[test]
    fn the_message_names_an_ordinary_container_before_a_sidecar() {
        let policy: PodFailurePolicy = serde_json::from_value(json!({"rules": [
            {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}}]}))
        .unwrap();
        let ended = |name: &str, code: i32| {
            json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": code}}})
        };
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "d"}, "status": {
            "initContainerStatuses": [ended("sidecar", 143)], "containerStatuses": [ended("main", 3)]}}))
            .unwrap();
        let message = "Container main for pod d/p failed with exit code 3 matching FailJob rule at index 0";
        assert_eq!(verdict(Some(&policy), &pod), Verdict::FailJob(message.into()));
    }
}
