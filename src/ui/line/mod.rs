//! Classifies lines: kubectl, a word of this program, or the shell. Pure: text in, decision out.

mod answer;
mod cut;
mod growing;
mod hangul;
mod kill;
mod meant;
mod slip;
mod spelling;
mod within;
mod words;

pub(crate) use answer::{needs_shell, unquoted, written_answer};
pub(crate) use cut::{Cut, cut};
pub(crate) use growing::{Growing, unfinished};
pub(crate) use hangul::{answer_keys, english_keys, latin_key, of_korean_layout};
pub(crate) use kill::killed;
pub(crate) use meant::meant_line;
pub(crate) use spelling::latin_among;
pub(crate) use within::{
    in_place_of_noexec, made_in_vain, with_kubectl, with_prefix, without_editing_mode, word_of_the_session,
};
pub(crate) use words::{
    OF_LESSON, WORDS, bare_verbs, begins_with_own_word, commands_of_a_cluster, meant_for_kubectl,
    split_negation,
};

use super::paste;
use kubectl::parse;
use words::{IN_A_PROCESS, LESSON, command_of_a_cluster, is_bare_verb, name_of};

/// What to do with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Empty,
    /// Arguments of kubectl.
    Kubectl(Vec<String>),
    /// A program on the terminal itself (an editor, an interactive exec): the shell runs this text.
    Foreground(String),
    /// A command of `ropewalk` and its arguments.
    Own(Vec<String>),
    Help(Vec<String>),
    Lang(Vec<String>),
    /// A word of lessons and what follows it.
    Lesson(Vec<String>),
    /// What was written after `answer`, as it stands there: the answer to a question of a lesson.
    Answer(String),
    /// A letter alone, which may answer a question; else it is the shell's.
    Letter(char, String),
    Map(Vec<String>),
    Clear,
    Quit,
    Exit(Option<String>),
    /// `watch`, and not what.
    Watch,
    /// For the learner's shell.
    Shell(String),
}

impl Line {
    /// True for a line that may read or change the cluster, as far as its words tell: also
    /// `delete pod $POD`, which is kubectl's in the shell.
    pub(crate) fn is_about_the_cluster(&self) -> bool {
        match self {
            Line::Shell(text) => ["kubectl", "ropewalk"].iter().any(|word| text.contains(word)),
            line => matches!(line, Line::Kubectl(_) | Line::Foreground(_) | Line::Own(_)),
        }
    }
}

/// Decides what a line is. `cluster` is the name that `ropewalk`'s own words are about.
pub(crate) fn classify(text: &str, cluster: &str) -> Line {
    let text = text.trim();
    if text == "?" {
        return Line::Help(vec![]);
    }
    if is_forced(text) {
        return Line::Shell(text[1..].to_string());
    }
    match by_beginning(text, cluster) {
        Line::Shell(text) => Line::Shell(within::expanded(&text, cluster)),
        line => line,
    }
}

/// Decides by its beginning what a line is.
fn by_beginning(text: &str, cluster: &str) -> Line {
    // Behind the shell's `!` stands a command like any other.
    if let Some(negated) = text.strip_prefix('!') {
        return match by_words(negated.trim_start(), cluster, true) {
            Line::Shell(command) => Line::Shell(format!("! {command}")),
            line => line,
        };
    }
    if let Some(written) = written_answer(text) {
        return Line::Answer(answer_keys(written));
    }
    by_words(text, cluster, false)
}

/// True for `!ls`, which the shell runs whatever the line means here. With a space behind it, `!`
/// is the shell's own: it turns an exit code round (POSIX, XCU 2.9.2).
pub(crate) fn is_forced(text: &str) -> bool {
    text.trim().strip_prefix('!').is_some_and(|rest| !rest.starts_with(char::is_whitespace))
}

/// Decides by its words what a line is. `in_shell`: only the shell can run it.
fn by_words(text: &str, cluster: &str, in_shell: bool) -> Line {
    let Cut { mut words, special } = cut(text);
    if let Some(first) = words.first_mut().filter(|_| special) {
        end_at_operator(first, text);
    }
    let special = special || in_shell;
    // A first word in quotes is a command of the shell, not a word of this program.
    let is_plain = words.first().is_some_and(|first| text.starts_with(first.as_str()));
    if is_plain && let Some(line) = spelling::classified(text, &words, special, cluster) {
        return line;
    }
    let Some(first) = words.first() else {
        return if special { Line::Shell(text.into()) } else { Line::Empty };
    };
    if !is_plain {
        return Line::Shell(text.into());
    }
    let after = &text[first.len()..];
    // Also with the program's name in front a word is about the cluster of the session.
    if first == "ropewalk"
        && let Some((word, behind)) = command_of_a_cluster(after)
    {
        return own(word, behind, &words[1..], special, cluster);
    }
    match first.as_str() {
        "kubectl" | "k" => kubectl(format!("kubectl{after}"), words, special),
        verb if is_bare_verb(verb) || meant_for_kubectl(&words) => {
            let whole = std::iter::once("kubectl".to_string()).chain(words.iter().cloned()).collect();
            kubectl(format!("kubectl {text}"), whole, special)
        }
        word if word == "etcdctl" || IN_A_PROCESS.contains(&word) => {
            own(word, after, &words, special, cluster)
        }
        "ropewalk" if !special && chooses_language(&words) => Line::Lang(words[2..].to_vec()),
        "ropewalk" if !special => Line::Own(words[1..].to_vec()),
        "watch" if words.len() > 1 || special => Line::Shell(text.into()),
        // The shell refuses two codes.
        "exit" if !special && words.len() <= 2 => Line::Exit(words.get(1).cloned()),
        _ if special => Line::Shell(text.into()),
        "quit" => Line::Quit,
        "help" => Line::Help(spelling::subject(&words[1..])),
        "map" => Line::Map(words[1..].to_vec()),
        "lang" => Line::Lang(words[1..].to_vec()),
        "clear" => Line::Clear,
        word if LESSON.contains(&word) => Line::Lesson(words),
        word if words.len() == 1 && letter(word).is_some() => match letter(word) {
            Some(letter) => Line::Letter(letter, text.into()),
            None => Line::Shell(text.into()),
        },
        "watch" => Line::Watch,
        _ => Line::Shell(text.into()),
    }
}

/// Cuts the first word of a line off where an operator of the shell ends it: `status|cat` begins
/// with `status`. Up to there the word stands in the line as it is, without quotes.
fn end_at_operator(first: &mut String, text: &str) {
    if let Some(end) = first.find(['|', '&', ';', '<', '>'])
        && end > 0
        && text.get(..=end) == first.get(..=end)
    {
        first.truncate(end);
    }
}

/// True for `ropewalk lang` and `ropewalk lang ko`: in a process of its own it would not change the
/// language of this session.
fn chooses_language(words: &[String]) -> bool {
    words.get(1).is_some_and(|word| word == "lang") && words[2..].iter().all(|word| !word.starts_with('-'))
}

/// `a` to `d`, also as the same keys give them with a Korean layout on.
fn letter(word: &str) -> Option<char> {
    let mut chars = word.chars();
    let (Some(c), None) = (chars.next(), chars.next()) else { return None };
    let c = latin_key(c).unwrap_or(c).to_ascii_lowercase();
    ('a'..='d').contains(&c).then_some(c)
}

fn kubectl(text: String, words: Vec<String>, special: bool) -> Line {
    match special {
        true => Line::Shell(text),
        false if wants_terminal(&words[1..]) => Line::Foreground(text),
        false => Line::Kubectl(words[1..].to_vec()),
    }
}

fn own(word: &str, after: &str, words: &[String], special: bool, cluster: &str) -> Line {
    let name = name_of(word, words.iter().skip(1).map(String::as_str), cluster);
    if special {
        return Line::Shell(format!("ropewalk {word}{name}{after}"));
    }
    let mut args = words.to_vec();
    if !name.is_empty() {
        args.splice(1..1, ["--name".to_string(), cluster.to_string()]);
    }
    Line::Own(args)
}

/// Commands that take over the terminal: an editor, a shell in a container, a question. The verb is
/// found as kubectl finds it: flags with values may stand before it (`-n shop exec -it web -- sh`).
/// What may be a plugin does, too: it may be anything. What else kubectl does not understand takes
/// nothing. A command whose manifest follows in the next lines takes no terminal: the shell would
/// run them.
fn wants_terminal(args: &[String]) -> bool {
    if paste::reads_stdin(args) {
        return false;
    }
    // What this process reads of its own terminal would be missing from the next line. Behind `--`
    // stands a command for a container.
    let mut own = args.iter().take_while(|arg| *arg != "--");
    if kubectl::may_be_plugin(args) || own.any(|arg| arg.ends_with("/dev/stdin")) {
        return true;
    }
    let Ok(parsed) = parse::parse(args) else { return false };
    let is = |flag: &str| parsed.flags.is(flag);
    let takes = match parsed.verb.path {
        "edit" | "apply edit-last-applied" => true,
        "exec" | "run" | "attach" | "debug" => is("stdin") || is("tty"),
        "delete" => is("interactive"),
        "create" => is("edit"),
        _ => false,
    };
    takes && !parsed.help
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubectl(args: &[&str]) -> Line {
        Line::Kubectl(args.iter().map(ToString::to_string).collect())
    }
    fn shell(text: &str) -> Line {
        Line::Shell(text.into())
    }
    fn of(text: &str) -> Line {
        classify(text, "main")
    }

    #[test]
    fn kubectl_has_three_spellings() {
        for text in ["kubectl get pods -A", "k get pods -A", "get pods -A", "  get  pods   -A # all"] {
            assert_eq!(of(text), kubectl(&["get", "pods", "-A"]), "{text}");
        }
        assert_eq!(of("kubectl"), kubectl(&[]));
        assert_eq!(of("k exec web -- ls /"), kubectl(&["exec", "web", "--", "ls", "/"]));
        assert_eq!(
            of("get pod web -o jsonpath='{.status.podIP} \"$x|\"'"),
            kubectl(&["get", "pod", "web", "-o", "jsonpath={.status.podIP} \"$x|\""])
        );
        for lines in ["create ns \"a \\\nb\"", "create ns \\\n'a b'"] {
            assert_eq!(of(lines), kubectl(&["create", "ns", "a b"]), "{lines}");
        }
        assert_eq!(of("create ns 'a \\\nb'"), kubectl(&["create", "ns", "a \\\nb"]));
        assert_eq!(
            of(r#"create configmap c --from-literal=a="b c" x\ y"#),
            kubectl(&["create", "configmap", "c", "--from-literal=a=b c", "x y"])
        );
    }

    #[test]
    fn what_only_a_shell_can_do_goes_to_the_shell_already_expanded() {
        assert_eq!(of("get pods | grep web"), shell("kubectl get pods | grep web"));
        assert_eq!(of("k get pods > out"), shell("kubectl get pods > out"));
        assert_eq!(of("delete pod $POD"), shell("kubectl delete pod $POD"));
        assert_eq!(of("delete pod \"$POD\""), shell("kubectl delete pod \"$POD\""));
        assert_eq!(of("apply -f ~/a.yaml"), shell("kubectl apply -f ~/a.yaml"));
        assert_eq!(of("apply -f *.yaml"), shell("kubectl apply -f *.yaml"));
        assert_eq!(of("delete pod web-{1,2}"), shell("kubectl delete pod web-{1,2}"));
        assert_eq!(of("delete pod web-{1..3}"), shell("kubectl delete pod web-{1..3}"));
        for braces in ["{.items}", "{}", "{a}"] {
            assert_eq!(
                of(&format!("get pods -o jsonpath={braces}")),
                kubectl(&["get", "pods", "-o", &format!("jsonpath={braces}")])
            );
        }
        assert_eq!(of("delete pod 'web-{1,2}'"), kubectl(&["delete", "pod", "web-{1,2}"]));
        assert_eq!(of("status -o json | jq ."), shell("ropewalk status --name main -o json | jq ."));
        assert_eq!(of("delete pod a; undo"), shell("kubectl delete pod a; ropewalk undo --name main"));
        assert_eq!(of("! true; why"), shell("! true; ropewalk why --name main"));
        assert_eq!(of("!true; undo"), shell("true; undo"));
        assert_eq!(of("cat <<EOF\nkubectl\nEOF"), shell("cat <<EOF\nkubectl\nEOF"));
        assert_eq!(of("ls"), shell("ls"));
        assert_eq!(of("!get pods"), shell("get pods"));
        assert_eq!(of("FOO=1 kubectl get pods"), shell("FOO=1 kubectl get pods"));
        assert_eq!(of("'help'"), shell("'help'"));
    }

    #[test]
    fn words_that_a_shell_expands_are_left_to_it() {
        for text in [
            "patch deploy web -p {\"spec\":1,\"b\":2}",
            "delete pod {\"a\",b}",
            "delete pod {a\\,b,c}",
            "delete pod {a}b,c}",
            "delete pod {a,{b}}",
            "create configmap c --from-literal HOME=~/x",
            "set env deploy/web PATH=/bin:~/bin",
        ] {
            assert_eq!(of(text), shell(&format!("kubectl {text}")), "{text}");
        }
        for (text, last) in [
            ("get pods -o jsonpath={.a}{\",\"}{.b}", "jsonpath={.a}{,}{.b}"),
            ("get pods -o {a,b", "{a,b"),
            ("get pods -o jsonpath={.a},{.b}", "jsonpath={.a},{.b}"),
            ("get pods -o go-template={{.a}},{{.b}}", "go-template={{.a}},{{.b}}"),
            ("get pods -o a~", "a~"),
        ] {
            assert_eq!(of(text), kubectl(&["get", "pods", "-o", last]), "{text}");
        }
    }

    /// POSIX, XCU 2.9.2: a pipeline behind `!` has the opposite exit code.
    #[test]
    fn a_negation_stays_one() {
        assert_eq!(of("! true"), shell("! true"));
        assert_eq!(of("!  kubectl get pod web"), shell("! kubectl get pod web"));
        assert_eq!(of("! get pod web"), shell("! kubectl get pod web"));
        assert_eq!(of("! status"), shell("! ropewalk status --name main"));
        assert_eq!(of("! exit 3"), shell("! exit 3"));
        assert!(is_forced(" !get pods") && !is_forced("! get pods") && !is_forced("get pods"));
    }

    /// POSIX, XCU 2.3: an operator ends a word.
    #[test]
    fn an_operator_ends_the_first_word() {
        assert_eq!(of("status|cat"), shell("ropewalk status --name main|cat"));
        assert_eq!(of("k>out get pods"), shell("kubectl>out get pods"));
        assert_eq!(of("events|wc -l"), shell("kubectl events|wc -l"));
        for text in ["'status|cat'", "status\\|cat", "status() { :; }", "2>out status", "ls|cat", "exit 1 2"]
        {
            assert_eq!(of(text), shell(text), "{text}");
        }
    }

    /// A script that was cut off in `-l 'app=old'` must not delete all pods with the label `app`.
    #[test]
    fn a_quote_that_is_not_closed_is_left_to_the_shell_which_refuses_it() {
        for (text, whole) in [
            ("delete pods -l 'app", "kubectl delete pods -l 'app"),
            ("k delete pod \"web", "kubectl delete pod \"web"),
            ("exec -it web -- 'sh", "kubectl exec -it web -- 'sh"),
            (
                "annotate pod web note='it's here'\nget pods",
                "kubectl annotate pod web note='it's here'\nget pods",
            ),
            ("delete pod a\"b\\\"", "kubectl delete pod a\"b\\\""),
            ("undo 'x", "ropewalk undo --name main 'x"),
            ("ropewalk reset '", "ropewalk reset --name main '"),
            ("exit '", "exit '"),
            ("next '", "next '"),
            ("다음 '", "다음 '"),
        ] {
            assert_eq!(of(text), shell(whole), "{text}");
        }
        assert_eq!(of("get pod 'a' \"b\" # it's"), kubectl(&["get", "pod", "a", "b"]));
    }

    #[test]
    fn verbs_that_are_shell_commands_stay_so() {
        for text in ["cp a b", "diff a b", "exec bash", "set -e", "top", "wait", "watch ls"] {
            assert_eq!(of(text), shell(text), "{text}");
        }
        assert_eq!(of("k diff -f a.yaml"), kubectl(&["diff", "-f", "a.yaml"]));
    }

    #[test]
    fn what_only_kubectl_can_mean_is_kubectls() {
        assert_eq!(of("exec web -- ls /"), kubectl(&["exec", "web", "--", "ls", "/"]));
        assert_eq!(of("exec -it web -- sh"), Line::Foreground("kubectl exec -it web -- sh".into()));
        assert_eq!(
            of("set image deploy/web web=nginx"),
            kubectl(&["set", "image", "deploy/web", "web=nginx"])
        );
        assert_eq!(of("wait pod web --for=delete"), kubectl(&["wait", "pod", "web", "--for=delete"]));
        assert_eq!(of("diff -f a.yaml"), kubectl(&["diff", "-f", "a.yaml"]));
        assert_eq!(of("top pods"), kubectl(&["top", "pods"]));
        for text in ["set image", "exec -- ls", "wait 123", "diff -f a b", "top -b"] {
            assert_eq!(of(text) == shell(text), text != "set image", "{text}");
        }
    }

    #[test]
    fn programs_that_take_the_terminal_run_on_it() {
        assert_eq!(of("edit deploy web"), Line::Foreground("kubectl edit deploy web".into()));
        assert_eq!(of("k exec -it web -- sh"), Line::Foreground("kubectl exec -it web -- sh".into()));
        assert_eq!(
            of("run t --image=busybox --stdin --tty"),
            Line::Foreground("kubectl run t --image=busybox --stdin --tty".into())
        );
        for text in [
            "kubectl -n shop exec -it web -- sh",
            "kubectl --context other --as jane attach -i web",
            "kubectl exec -n shop web -it -- sh",
            "kubectl -n shop edit deploy web",
            "kubectl --namespace=shop delete pod web -i",
            "kubectl apply edit-last-applied deploy web",
            "kubectl create -f web.yaml --edit",
            "kubectl ctx",
            "kubectl apply -f /dev/stdin",
            "kubectl create configmap c --from-file=/dev/stdin",
            "kubectl node-shell worker",
            "kubectl create thing a",
        ] {
            assert_eq!(of(text), Line::Foreground(text.into()), "{text}");
        }
        assert_eq!(of("k -n edit get pods"), kubectl(&["-n", "edit", "get", "pods"]));
        assert_eq!(of("k exec web --tty=false -- ls"), kubectl(&["exec", "web", "--tty=false", "--", "ls"]));
        for text in ["create -f - --edit", "ctx -f -", "aply -f -", "create -f web.yaml", "-n shop ctx"] {
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(of(&format!("k {text}")), kubectl(&words), "{text}");
        }
        assert_eq!(of("k exec web -- ls -it"), kubectl(&["exec", "web", "--", "ls", "-it"]));
        let of_container = kubectl(&["exec", "web", "--", "cat", "/dev/stdin"]);
        assert_eq!(of("k exec web -- cat /dev/stdin"), of_container);
        assert_eq!(of("run t --image=busybox"), kubectl(&["run", "t", "--image=busybox"]));
    }

    #[test]
    fn words_of_this_place() {
        let own = |args: &[&str]| Line::Own(args.iter().map(ToString::to_string).collect());
        assert_eq!(of("status"), own(&["status", "--name", "main"]));
        assert_eq!(of("fault kill etcd"), own(&["fault", "--name", "main", "kill", "etcd"]));
        assert_eq!(of("trace --name x LAST"), own(&["trace", "--name", "x", "LAST"]));
        assert_eq!(of("etcdctl get a"), own(&["etcdctl", "--name", "main", "get", "a"]));
        let piped = "ropewalk etcdctl --name main get a | wc -l".to_string();
        assert_eq!(of("etcdctl get a | wc -l"), Line::Shell(piped));
        assert_eq!(of("doctor"), own(&["doctor"]));
        assert_eq!(of("ropewalk status"), of("status"));
        assert_eq!(of("ropewalk version"), own(&["version"]));
        assert_eq!(of("ropewalk lang ko"), of("lang ko"));
        assert_eq!(of("ropewalk lang"), Line::Lang(vec![]));
        assert_eq!(of("ropewalk lang --help"), own(&["lang", "--help"]));
        assert_eq!(of("quit"), Line::Quit);
        assert_eq!(of("exit 3"), Line::Exit(Some("3".into())));
        assert_eq!(of("undo 2"), own(&["undo", "--name", "main", "2"]));
        assert_eq!(of("drill show | cat"), Line::Shell("ropewalk drill --name main show | cat".into()));
        assert_eq!(of("lab start x --seed 7"), own(&["lab", "--name", "main", "start", "x", "--seed", "7"]));
        assert_eq!(of("watch"), Line::Watch);
        assert_eq!(of("help get"), Line::Help(vec!["get".into()]));
        for nothing in ["", "   ", "# a remark"] {
            assert_eq!(of(nothing), Line::Empty);
        }
    }

    #[test]
    fn lessons_have_words_of_their_own_on_either_keyboard_layout() {
        let lesson = |words: &[&str]| Line::Lesson(words.iter().map(ToString::to_string).collect());
        assert_eq!(of("next"), lesson(&["next"]));
        assert_eq!(of("lesson first-voyage/04"), lesson(&["lesson", "first-voyage/04"]));
        assert_eq!(of("ㅜㄷㅌㅅ"), lesson(&["next"]));
        assert_eq!(of("촏차"), lesson(&["check"]));
        assert_eq!(of("힌트"), lesson(&["hint"]));
        let answer = |text: &str| Line::Answer(text.into());
        for text in ["answer 10.244.1.7", "답 10.244.1.7", "ㅁㅜㄴㅈㄷㄱ 10.244.1.7"] {
            assert_eq!(of(text), answer("10.244.1.7"), "{text}");
        }
        assert_eq!(of("answer ㅎㄱㄷ두"), answer("green"));
        // As it is written: quotes and variables are the answer's own.
        for text in ["$(kubectl get pods | wc -l)", "it's", "a > b", "<none>", ""] {
            assert_eq!(of(&format!("answer {text}")), answer(text));
            assert_eq!(of(&format!("답 {text}")), answer(text));
        }
        assert_eq!(of("answer=5"), shell("answer=5"));
        for text in ["'연습'", "\"진도\" -o json", "\\연습 show", "\\\n연습", "'도움말'", "'다음'", "연'습'"]
        {
            assert_eq!(of(text), shell(text), "{text}");
        }
        assert_eq!(of("도움말"), Line::Help(vec![]));
        assert_eq!(of("햐ㅜㅅ"), shell("햐ㅜㅅ"));
        assert_eq!(of("혀ㅗㅎ"), shell("혀ㅗㅎ"));
        assert_eq!(of("b"), Line::Letter('b', "b".into()));
        assert_eq!(of("ㅊ"), Line::Letter('c', "ㅊ".into()));
        assert_eq!(of("b x"), shell("b x"));
        assert_eq!(of("next | cat"), shell("next | cat"));
    }
}
