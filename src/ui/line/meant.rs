//! Finds the line that was probably meant by one whose first word is no command. Pure.

use super::slip::did_you_mean;
use super::{cut, english_keys};

/// Returns a suggestion for a line of which the shell did not find the command: the same keys with
/// an English layout, if the first word then is a command, or else a slip in a word that is known
/// here. `is_command` is true for everything that the shell would find.
///
/// Examples: `쳐기 localhost` is `curl localhost`; `kubeclt get pods` is `kubectl get pods`; of
/// `쿠베 get nodes` (`znqp`) nothing is known.
pub(crate) fn meant_line(text: &str, is_command: impl Fn(&str) -> bool) -> Option<String> {
    let words = cut(text).words;
    // `(get pods)` is no slip in the word `(get`.
    let slip = words.first().filter(|word| !word.contains(['(', ')', '{', '}', '<', '>', '$', '`']))?;
    let Some(turned) = english_keys(text).filter(|_| !slip.is_ascii()) else {
        // The rest of the line keeps its quotes, because the learner may copy the suggestion. A
        // first word in quotes is no slip.
        let behind = text.trim().strip_prefix(slip.as_str())?;
        return Some(format!("{}{behind}", did_you_mean(slip)?));
    };
    let turned = turned.trim();
    let (first, rest) = turned.split_at(turned.find(char::is_whitespace).unwrap_or(turned.len()));
    // The layout has capital letters only where Shift gives a double consonant: `쳐끼` is `cuRl`.
    let lower = first.to_ascii_lowercase();
    let known = [first, lower.as_str()].into_iter().find(|word| is_command(word));
    Some(format!("{}{rest}", known.or_else(|| did_you_mean(&lower))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_command_is_suggested() {
        let is_command = |word: &str| ["curl", "echo", "jobs", "sleep"].contains(&word);
        for (text, meant) in [
            ("쳐기 localhost:31234", Some("curl localhost:31234")),
            ("쳐끼 localhost:31234", Some("curl localhost:31234")),
            ("ㅓㅐㅠㄴ", Some("jobs")),
            ("니ㄷ데 900 &", Some("sleep 900 &")),
            ("kubeclt get pods", Some("kubectl get pods")),
            (" kubeclt exec web -- sh -c 'id; ls' ", Some("kubectl exec web -- sh -c 'id; ls'")),
            ("'kubeclt' get pods", None),
            ("ㅏㅕㅠㄷㅊㅣㅅ get pods", Some("kubectl get pods")),
            ("쿠베 get nodes", None),
            ("대초 $?", None),
            ("xyzzy", None),
            ("(get pods)", None),
            ("get$(echo) pods", None),
        ] {
            assert_eq!(meant_line(text, is_command).as_deref(), meant, "{text}");
        }
    }
}
