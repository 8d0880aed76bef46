//! Which lines the teacher can play: on any cluster, or on none.

use super::{commands, is_plain, may_fail};
use crate::actor::cost::look::cannot_be_asked;
use crate::needs;
use cluster::faults::Fault;
use kubectl::machine;

/// Says why the teacher can play a line on no cluster; `None`: it can be tried.
///
/// Example: `kubectl get pods | head` needs a shell, `kubectl delete pod --nwo` has a flag that
/// there is not, `fault kil etcd` is no fault, and what `kubectl edit` takes from the learner is
/// not known before.
pub(crate) fn unplayable(line: &str) -> Option<String> {
    let (text, _) = may_fail(line);
    if !is_plain(text) {
        return Some("it needs a shell, and the teacher has none".into());
    }
    let Some(words) = shlex::split(text) else { return Some("a quote does not end".into()) };
    let (first, rest) = words.split_first()?;
    let given = match first.as_str() {
        "fault" => return Fault::parse(rest).err(),
        "k" | "kubectl" => rest,
        _ => &words[..],
    };
    match kubectl::parse::parse(given) {
        Err(fail) => fail.report().0.lines().next().map(String::from),
        Ok(_) => cannot_be_asked(text).or_else(|| machine::reached(given).map(|by| machine_refusal(&by))),
    }
}

/// Says why the teacher plays no line that reaches the machine by this verb or flag.
pub(crate) fn machine_refusal(by: &str) -> String {
    format!("`{by}` reaches files, programs or ports of this machine; the teacher reaches the cluster alone")
}

/// True for a line of kubectl's that reaches no file, program or port of the machine.
fn is_within(line: &str) -> bool {
    let words = shlex::split(line).unwrap_or_default();
    let given = match words.first().map(String::as_str) {
        Some("k" | "kubectl") => &words[1..],
        _ => &words[..],
    };
    machine::reached(given).is_none()
}

/// Of a solution, what can be played by the teacher on any cluster: kubectl's own lines that need
/// nothing of ours.
pub(crate) fn on_any_cluster(lines: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for (line, input) in commands(lines) {
        let mut whole = vec![line];
        if !input.is_empty() {
            whole.extend(input.lines().map(String::from));
            whole.push(".".into());
        }
        let text = may_fail(&whole[0]).0;
        if is_plain(text) && is_within(text) && needs::of_lines(&whole).is_empty() {
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

    #[test]
    fn a_line_that_can_be_played_nowhere_is_known_before_it_is_played() {
        for line in
            ["-kubectl run a --image=nginx -- sleep 1", "get pods", "fault heal", "", "k delete po a --now"]
        {
            assert_eq!(unplayable(line), None, "{line}");
        }
        for (line, why) in [
            ("kubectl get pods | head", "shell"),
            ("-curl localhost", "shell"),
            ("kubectl delete pod a --nwo", "--nwo"),
            ("kubectl annotate pod 'a", "quote"),
            ("fault kil etcd", "kil"),
            ("kubectl create configmap a --from-file=/etc/passwd", "`--from-file` reaches files"),
            ("-k cp web:/x /tmp/x", "`cp` reaches files"),
        ] {
            let told = unplayable(line).expect(line);
            assert!(told.contains(why), "{line}: {told}");
        }
    }
}
