//! Which lines the teacher can play on no cluster, and why.

use crate::lines::look::cannot_be_asked;
use crate::lines::{arguments, is_plain, machine, may_fail};
use cluster::faults::Fault;

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
    if first == "fault" {
        return Fault::parse(rest).err();
    }
    let given = arguments(&words);
    match kubectl::parse::parse(given) {
        Err(fail) => fail.report().0.lines().next().map(String::from),
        Ok(_) => cannot_be_asked(text).or_else(|| machine::refusal(given)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_line_whose_cost_nobody_can_tell_has_no_place_in_a_setup() {
        for line in ["edit deploy web", "-kubectl replace --raw /api -f -", "apply -f - -- x"] {
            assert!(unplayable(line).is_some_and(|why| why.contains("beforehand")), "{line}");
        }
        for line in ["apply --force -f -", "kubectl create deployment web --image=nginx", "delete pod web"] {
            assert_eq!(unplayable(line), None, "{line}");
        }
    }
}
