//! Lines that reach the machine beside the cluster. The teacher plays none of them: the author of a
//! lesson does not own the machine that it is played on.

use kubectl::machine;

/// Says why the teacher does not run kubectl with these arguments: they reach files, programs or
/// ports of the machine. `None`: they reach the cluster alone, or kubectl refuses them.
pub(crate) fn refusal(arguments: &[String]) -> Option<String> {
    let by = machine::reached(arguments)?;
    Some(format!(
        "`{by}` reaches files, programs or ports of this machine; the teacher reaches the cluster alone"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::arguments;

    /// A lesson's lines may leave the program's name out, and learners write `k`.
    #[test]
    fn the_machine_is_reached_with_and_without_the_programs_name() {
        let refused = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(String::from).collect();
            refusal(arguments(&words))
        };
        for line in ["cp web:/x /tmp/x", "k cp web:/x /tmp/x", "kubectl cp web:/x /tmp/x"] {
            assert!(refused(line).is_some_and(|why| why.starts_with("`cp` reaches files")), "{line}");
        }
        for line in ["", "k", "kubectl get pods", "k apply -f -"] {
            assert_eq!(refused(line), None, "{line}");
        }
    }
}
