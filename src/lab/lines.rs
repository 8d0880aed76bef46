//! The lines of a lesson or a lab: which of them may fail, what a manifest or a here-document is
//! made of, and what the teacher, who has no shell, can play.

use super::reach;
use crate::actor::cost::look::cannot_be_asked;
use cluster::faults::Fault;
use kubectl::table;
use std::collections::BTreeSet;

/// The line without a `-` before it, and whether there was one.
pub(super) fn may_fail(line: &str) -> (&str, bool) {
    line.strip_prefix('-').map_or((line, false), |rest| (rest.trim_start(), true))
}

/// The word that ends the here-document of this line: `EOF` of `cat > db.yaml <<'EOF'`.
fn here_document(line: &str) -> Option<String> {
    let (_, after) = line.split_once("<<").filter(|(_, after)| !after.starts_with('<'))?;
    let word = after.trim_start_matches('-').trim_start().trim_start_matches(['\'', '"', '\\']);
    let end = word.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(word.len());
    Some(word[..end].to_string()).filter(|word| !word.is_empty())
}

/// Lines without the `-` before those that may fail, and the positions of these. In a manifest or a
/// here-document a `-` begins an item of a list, and `---` the next object.
pub(crate) fn unmarked(lines: Vec<String>) -> (Vec<String>, BTreeSet<usize>) {
    let (mut plain, mut marked, mut in_manifest) = (Vec::new(), BTreeSet::new(), false);
    let mut until: Option<String> = None;
    for (at, line) in lines.into_iter().enumerate() {
        if until.is_some() {
            until = until.filter(|end| line.trim() != end.as_str());
            plain.push(line);
            continue;
        }
        if in_manifest {
            in_manifest = !ends_manifest(&line);
            plain.push(line);
            continue;
        }
        until = here_document(&line);
        in_manifest = until.is_none() && reads_manifest(&line);
        let (text, may_fail) = may_fail(&line);
        if may_fail {
            marked.insert(at);
        }
        plain.push(text.into());
    }
    (plain, marked)
}

/// Is there a line among these that only a shell can run? Then the teacher plays none of them.
pub(crate) fn needs_shell(lines: &[String]) -> bool {
    commands(lines).iter().any(|(line, _)| !is_plain(may_fail(line).0))
}

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
        Err(fail) => fail.told().0.lines().next().map(String::from),
        Ok(_) => cannot_be_asked(text),
    }
}

/// Nothing in it only a shell could do. What stands in quotes is a word like any other, but for
/// what a shell puts into double ones.
pub(super) fn is_plain(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    let known = word.is_empty()
        || ["fault", "k", "kubectl"].contains(&word)
        || table::root().children().any(|v| v.name() == word);
    let (mut quote, mut escaped) = (None, false);
    for c in line.chars() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('\''), c) => quote = (c != '\'').then_some('\''),
            (_, '\\') => escaped = true,
            (_, '$' | '`') => return false,
            (Some(own), c) => quote = (c != own).then_some(own),
            (None, '"' | '\'') => quote = Some(c),
            (None, '|' | '>' | '<' | ';' | '&') => return false,
            (None, _) => {}
        }
    }
    known
}

/// Of a solution, what can be played by the teacher on any cluster: kubectl's own lines that need
/// nothing of ours.
pub(crate) fn playable(lines: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for (line, input) in commands(lines) {
        let mut whole = vec![line];
        if !input.is_empty() {
            whole.extend(input.lines().map(String::from));
            whole.push(".".into());
        }
        if is_plain(may_fail(&whole[0]).0) && reach::of_lines(&whole).is_empty() {
            all.extend(whole);
        }
    }
    all
}

/// Is it a learner's answer to the question of a step? The teacher plays none.
pub(crate) fn is_answer(line: &str) -> bool {
    line.split_whitespace().next() == Some("answer")
}

/// Lines as (command, what it reads): a manifest follows its `-f -` up to a line `.`. Answers of
/// the learner's are left out.
pub(crate) fn commands(lines: &[String]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut rest = lines.iter();
    while let Some(line) = rest.next() {
        let mut input = String::new();
        if reads_manifest(line) {
            for more in rest.by_ref().take_while(|l| !ends_manifest(l)) {
                input.push_str(more);
                input.push('\n');
            }
        }
        if !is_answer(line) {
            all.push((line.clone(), input));
        }
    }
    all
}

/// Does a manifest follow this line? A line that is not kubectl's alone is looked at by its words.
pub(crate) fn reads_manifest(line: &str) -> bool {
    let words = shlex::split(may_fail(line).0).unwrap_or_default();
    // Most lines name no standard input, and need not be parsed for that to be known.
    let is_there = |word: &String| word.split(['=', ',']).any(|part| part.ends_with('-'));
    if !words.is_empty() && !words.iter().any(is_there) {
        return false;
    }
    let args = match words.first().map(String::as_str) {
        Some("kubectl" | "k") => &words[1..],
        _ => &words[..],
    };
    if let Ok(parsed) = kubectl::parse::parse(args) {
        return parsed.reads_stdin();
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    words.windows(2).any(|w| matches!(w[0], "-f" | "--filename") && w[1] == "-")
}

/// Is this the line behind the last one of a manifest?
pub(crate) fn ends_manifest(line: &str) -> bool {
    matches!(line, "." | "EOF")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_marks_no_line_of_a_here_document() {
        let lines = [
            "-cat > db.yaml <<'EOF'",
            "- a",
            "---",
            "EOF",
            "-kubectl apply -f - <<EOF",
            "---",
            "EOF",
            "-true",
        ];
        let (plain, marked) = unmarked(lines.map(String::from).to_vec());
        assert_eq!(plain[1..4], ["- a", "---", "EOF"]);
        assert_eq!((&*plain[5], &*plain[7]), ("---", "true"));
        assert_eq!(marked, [0, 4, 7].into());
        assert_eq!(here_document("cat <<-\"END\" > x"), Some("END".to_string()));
        assert_eq!(here_document("cat <<<word"), None);
    }

    #[test]
    fn of_a_step_that_is_passed_only_what_works_everywhere_is_played() {
        let lines =
            ["PORT=$(kubectl get svc)", "kubectl delete svc web", "curl localhost:1", "fault kill etcd"];
        let manifest = ["kubectl apply -f -", "kind: Pod", "."];
        let marked = ["-kubectl create deployment Web --image=nginx", "-curl localhost:1"];
        let all = lines.iter().chain(&manifest).chain(&marked).map(ToString::to_string);
        let played = ["kubectl delete svc web", "kubectl apply -f -", "kind: Pod", ".", marked[0]];
        assert_eq!(playable(&all.collect::<Vec<_>>()), played, "what may fail is marked");
    }

    #[test]
    fn a_manifest_follows_a_line_that_reads_standard_input() {
        for line in
            ["kubectl apply -Rf -", "-k create --filename=-", "apply -f-", "sed s/a/b/ | kubectl apply -f -"]
        {
            assert!(reads_manifest(line), "{line}");
        }
        for line in ["kubectl logs -f web", "kubectl exec web -- tar -f -", "apply -f web.yaml"] {
            assert!(!reads_manifest(line), "{line}");
        }
    }

    #[test]
    fn what_only_a_shell_can_do_is_seen_before_anything_is_done() {
        for line in
            ["kubectl get pods", "k get po", "get pods", "fault heal", "", "kubectl get -o jsonpath={.a}"]
        {
            assert!(is_plain(line), "{line}");
        }
        for line in [
            r#"kubectl patch svc a -p '{"a": "$b|c;d<e>&`"}'"#,
            r#"kubectl get pods -o "jsonpath={.items[?(@.a>1)]}""#,
            r"kubectl get pods -l a\>b",
            r#"kubectl run a --image=busybox -- sh -c 'while :; do date > /tmp/x; done'"#,
        ] {
            assert!(is_plain(line), "{line}");
        }
        for line in [
            "kubectl get pods | head",
            "kubectl delete pod a > /dev/null",
            "kubectl delete pod a; kubectl delete pod b",
            "kubectl delete pod a && true",
            "kubectl delete pod $POD",
            r#"kubectl delete pod "$POD""#,
            "kubectl delete pod `cat name`",
            "POD=a kubectl get pods",
            "curl localhost",
        ] {
            assert!(!is_plain(line), "{line}");
        }
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
        ] {
            let told = unplayable(line).expect(line);
            assert!(told.contains(why), "{line}: {told}");
        }
    }

    #[test]
    fn manifests_follow_their_command() {
        let lines = ["kubectl apply -f -", "a: 1", "b: 2", ".", "kubectl get pods"].map(String::from);
        let want = [("kubectl apply -f -", "a: 1\nb: 2\n"), ("kubectl get pods", "")];
        assert_eq!(commands(&lines), want.map(|(a, b)| (a.to_string(), b.to_string())));
    }
}
