//! What has to be asked over the network: HTTP from the host, commands in containers, logs, access
//! reviews, the store and its members, the learner's kubeconfig. All read only.

use super::failure::Failure;
use super::{contexts, visit};
use crate::cel::{Probe, value};
use crate::teacher;
use cel::Value;
use client::kube::api::PostParams;
use client::{Api, Client};
use cluster::guest::{Host, LessonScope};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use std::path::Path;
use std::time::Duration;
use tap::{ADMIN, LEARNER, TEACHER};

/// A command or request that takes longer has failed.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// The user of a request without credentials.
const ANONYMOUS: &str = "system:anonymous";

const LATE: &str = "no answer in time";

/// Says why there is no answer. An expression that uses it fails, so that what was not seen counts
/// neither as a yes nor as a no.
pub(super) fn no_answer(why: &str) -> Value {
    value::map([("error", value::text(why))])
}

/// A log that cannot be had is not an empty one.
fn logs(ran: &teacher::Ran) -> Value {
    match ran.code {
        0 => value::text(&ran.stdout),
        _ => no_answer(ran.stderr.trim()),
    }
}

/// How a command in a container ended. kubectl's own failure is no exit code of it: no such pod, no
/// kubelet, no answer in time. `command`: what was to run there.
fn ended(command: &str, ran: &teacher::Ran) -> Value {
    let told = format!("command terminated with exit code {}", ran.code);
    // What stands before it the program itself has said.
    let said = ran.stderr.trim_end().strip_suffix(&told);
    let said = match (ran.code, said) {
        (0, _) => "",
        (_, Some(said)) => said,
        (_, None) => return no_answer(ran.stderr.trim()),
    };
    let failure = Failure::of_command(command, ran.code, said);
    value::map([
        ("exit", Value::Int(ran.code.into())),
        ("stdout", value::text(&ran.stdout)),
        ("stderr", value::text(&ran.stderr)),
        ("failure", value::text(failure.map_or("", Failure::word))),
    ])
}

/// The groups that the authenticator gives a user of this name, as far as they follow from it. The
/// certificates of the learner, the teacher and the administrator of a cluster of Ropewalk's own
/// have the group of administrators; in the scope of a lesson on another cluster nothing is known
/// of them. Source: `serviceaccount.MakeGroupNames`; for requests without credentials
/// `anonymous.NewAuthenticator`.
fn groups(user: &str, scope: &LessonScope) -> Vec<String> {
    if user == ANONYMOUS {
        return vec!["system:unauthenticated".into()];
    }
    let mut groups = vec!["system:authenticated".to_string()];
    if [LEARNER, TEACHER, ADMIN].contains(&user) && *scope == LessonScope::default() {
        groups.push("system:masters".into());
    }
    if let Some((namespace, _)) = user.strip_prefix("system:serviceaccount:").and_then(|u| u.split_once(':'))
    {
        groups.extend(["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")]);
    }
    if user.starts_with("system:node:") {
        groups.push("system:nodes".into());
    }
    groups
}

/// `deployments.apps/scale` → resource, group, subresource.
fn resource(words: &str) -> (&str, &str, &str) {
    let (whole, subresource) = words.split_once('/').unwrap_or((words, ""));
    let (name, group) = whole.split_once('.').unwrap_or((whole, ""));
    (name, group, subresource)
}

/// Asks in a scope, and answers with what the expression sees. Never fails: a failure is an answer,
/// too.
pub(crate) async fn ask(
    probe: &Probe,
    host: &Host,
    client: &Client,
    kubeconfig: &Path,
    scope: &LessonScope,
) -> Value {
    match probe {
        Probe::Inside(what) => {
            let asked = tokio::time::timeout(LIMIT, host.inside(what)).await;
            let answer = asked.unwrap_or_else(|_| Err(LATE.into()));
            answer.map_or_else(|why| no_answer(&why), |a| value::of_json(&a))
        }
        // The engine that sends a load answers this itself.
        Probe::Load => no_answer("no load is sent here"),
        // So does the engine that has a step open.
        Probe::Shell => no_answer("only a step of a lesson breaks the shell"),
        Probe::Contexts => contexts::of(&host.place().kubeconfig()).await,
        Probe::Http { call, .. } => visit::http(call, kubeconfig, |port| host.has_port(port)).await,
        Probe::Within { url, .. } => visit::within(host, url).await,
        Probe::Exec { target, command, .. } => {
            let mut words: Vec<String> = ["kubectl", "exec"].map(String::from).into();
            words.extend(pod(target, scope));
            words.extend(["--", "sh", "-c", command].map(String::from));
            ended(command, &teacher::kubectl(words, String::new(), kubeconfig, LIMIT).await)
        }
        Probe::Logs { target } => {
            logs(&teacher::kubectl_from_the_end(log_words(target, scope), kubeconfig, LIMIT).await)
        }
        Probe::Can { user, verb, resource: words, namespace } => {
            let (resource, group, subresource) = resource(words);
            let text = |t: &str| Some(t.to_string()).filter(|t| !t.is_empty());
            let review = SubjectAccessReview {
                spec: SubjectAccessReviewSpec {
                    user: text(user),
                    groups: Some(groups(user, scope)),
                    resource_attributes: Some(ResourceAttributes {
                        namespace: text(scope.real_name(namespace)),
                        verb: text(verb),
                        group: text(group),
                        resource: text(resource),
                        subresource: text(subresource),
                        ..ResourceAttributes::default()
                    }),
                    ..SubjectAccessReviewSpec::default()
                },
                ..SubjectAccessReview::default()
            };
            let api: Api<SubjectAccessReview> = client.all();
            let asked = tokio::time::timeout(LIMIT, api.create(&PostParams::default(), &review)).await;
            match asked {
                Ok(Ok(answer)) => answer.status.map_or_else(
                    || no_answer("a review without a verdict"),
                    |status| Value::Bool(status.allowed),
                ),
                Ok(Err(error)) => no_answer(&cluster::chain(&error)),
                Err(_) => no_answer(LATE),
            }
        }
    }
}

/// Lines of a log that are read, from its end: what the learner has just caused stands there.
const LOG_LINES: usize = 4_000;

fn log_words(target: &str, scope: &LessonScope) -> Vec<String> {
    let tail = format!("--tail={LOG_LINES}");
    let mut words: Vec<String> = ["kubectl", "logs", "--timestamps", &tail].map(String::from).into();
    words.extend(pod(target, scope));
    words
}

/// `ns/pod[/container]` as kubectl's words.
fn pod(target: &str, scope: &LessonScope) -> Vec<String> {
    let parts: Vec<&str> = target.split('/').collect();
    let mut words = match parts.as_slice() {
        [namespace, pod, ..] => vec![(*pod).to_string(), "-n".into(), scope.real_name(namespace).to_string()],
        _ => vec![target.to_string()],
    };
    if let Some(container) = parts.get(2) {
        words.extend(["-c".to_string(), (*container).to_string()]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::value::{int_field, str_field};

    #[test]
    fn a_long_log_is_read_from_its_end() {
        let words = log_words("default/web", &LessonScope::default()).join(" ");
        assert_eq!(words, format!("kubectl logs --timestamps --tail={LOG_LINES} web -n default"));
    }

    #[test]
    fn a_log_that_cannot_be_had_is_not_an_empty_one() {
        let ran = |code, stdout: &str, stderr: &str| {
            logs(&teacher::Ran { code, stdout: stdout.into(), stderr: stderr.into() })
        };
        assert_eq!(ran(0, "", ""), value::text(""));
        assert_eq!(ran(0, "a\n", ""), value::text("a\n"));
        assert_eq!(str_field(&ran(1, "", "pods \"x\" not found\n"), "error"), "pods \"x\" not found");
        // What was read until the time was over may lack the line that matters.
        assert_ne!(str_field(&ran(124, "a\n", "gave up after 5 s\n"), "error"), "");
    }

    #[test]
    fn what_kubectl_could_not_run_has_no_exit_code() {
        let ran = |code, stderr: &str| {
            ended("wget web", &teacher::Ran { code, stdout: "out".into(), stderr: stderr.into() })
        };
        assert_eq!(int_field(&ran(0, ""), "exit"), 0);
        let own = ran(7, "no such host\ncommand terminated with exit code 7\n");
        assert_eq!((int_field(&own, "exit"), str_field(&own, "error")), (7, ""));
        let refused = ran(1, "wget: Connection refused\ncommand terminated with exit code 1\n");
        assert_eq!([str_field(&refused, "failure"), str_field(&ran(0, ""), "failure")], ["refused", ""]);
        assert_eq!(str_field(&ran(1, "pods \"x\" not found\n"), "error"), "pods \"x\" not found");
        assert_ne!(str_field(&ran(124, "gave up after 5 s\n"), "error"), "");
    }

    #[test]
    fn a_review_is_about_the_user_whom_the_server_would_see() {
        let (home, scope) =
            (LessonScope::default(), LessonScope { namespace: Some("own".into()), ..LessonScope::default() });
        // As src/cluster/kubeconfig/mod.rs has their certificates made.
        assert_eq!(groups("learner", &home), ["system:authenticated", "system:masters"]);
        assert_eq!(groups("learner", &scope), ["system:authenticated"], "somebody else's cluster");
        assert_eq!(groups("kubernetes-admin", &home), ["system:authenticated", "system:masters"]);
        assert_eq!(groups("jane", &home), ["system:authenticated"]);
        for place in [&home, &scope] {
            assert_eq!(groups("system:anonymous", place), ["system:unauthenticated"]);
        }
        let own = groups("system:serviceaccount:shop:web", &home);
        assert_eq!(own, ["system:authenticated", "system:serviceaccounts", "system:serviceaccounts:shop"]);
        assert_eq!(resource("deployments.apps/scale"), ("deployments", "apps", "scale"));
        assert_eq!(resource("pods/log"), ("pods", "", "log"));
        let custom = ("ships", "example.com", "");
        assert_eq!(resource("ships.example.com"), custom);
    }

    #[test]
    fn targets_become_kubectls_words() {
        let (home, scope) =
            (LessonScope::default(), LessonScope { namespace: Some("own".into()), ..LessonScope::default() });
        assert_eq!(pod("ns/p", &home), ["p", "-n", "ns"]);
        assert_eq!(pod("ns/p/c", &home), ["p", "-n", "ns", "-c", "c"]);
        assert_eq!(pod("default/p", &scope), ["p", "-n", "own"]);
    }
}
