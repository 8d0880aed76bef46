//! The commands of a solution that the teacher can play on every cluster, a foreign one too.

use super::of_lines;
use crate::lines::{arguments, commands, is_plain, machine, may_fail};

/// True for a line of kubectl's that reaches no file, program or port of the machine.
fn is_within(line: &str) -> bool {
    let words = shlex::split(line).unwrap_or_default();
    machine::refusal(arguments(&words)).is_none()
}

/// Returns the commands of a solution that the teacher can play on every cluster, each with its
/// manifest: lines of kubectl that need no shell, nothing of this machine, and no cluster of our
/// own. Example: of `curl localhost:1`, `fault kill etcd` and `kubectl delete svc web` the last.
pub(crate) fn on_any_cluster(lines: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for (line, input) in commands(lines) {
        let mut whole = vec![line];
        if !input.is_empty() {
            whole.extend(input.lines().map(String::from));
            whole.push(".".into());
        }
        let text = may_fail(&whole[0]).0;
        if is_plain(text) && is_within(text) && of_lines(&whole).is_empty() {
            all.extend(whole);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_step_that_is_passed_only_what_works_everywhere_is_played() {
        let lines = [
            "PORT=$(kubectl get svc)",
            "kubectl delete svc web",
            "curl localhost:1",
            "fault kill etcd",
            "kubectl cp web:/x /tmp/x",
            "-k --kubeconfig=mine.yaml delete ns web",
        ];
        let manifest = ["kubectl apply -f -", "kind: Pod", "."];
        let marked = ["-kubectl create deployment Web --image=nginx", "-curl localhost:1"];
        let all = lines.iter().chain(&manifest).chain(&marked).map(ToString::to_string);
        let played = ["kubectl delete svc web", "kubectl apply -f -", "kind: Pod", ".", marked[0]];
        assert_eq!(on_any_cluster(&all.collect::<Vec<_>>()), played, "what may fail is marked");
    }
}
