//! Lines run as the teacher: a lesson's setup, its faults, and earlier steps that are played to
//! reach a later one. Only kubectl's and `fault` lines: what needs a shell has no place in a setup
//! that has to work everywhere.

use super::{Error, reach};
use crate::actor::cost::look::cannot_be_asked;
use cluster::Place;
use cluster::control::{Ask, Control};
use cluster::faults::Fault;
use cluster::guest::Room;
use kubectl::kept::Kept;
use kubectl::{self, Env, Io, table};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio_util::sync::CancellationToken;

/// A line of a setup that takes longer has failed.
pub(crate) const LINE_MAX: Duration = Duration::from_secs(240);

/// What a command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The teacher's hands.
#[derive(Clone)]
pub(crate) struct Teacher {
    pub place: Place,
    pub kubeconfig: PathBuf,
}

impl Teacher {
    /// Runs lines in order, in a room, and stops at the first that fails. A line that begins with
    /// `-` may fail, as in a Makefile: what it makes may be there. Where one of them needs a shell,
    /// none is run: half a way leads nowhere.
    pub(crate) async fn play(&self, lines: &[String], room: &Room) -> Result<(), Error> {
        self.play_telling(lines, room, |_, _| {}).await
    }

    /// The same; before each line `told` gets its number, from 1, and how many there are.
    pub(crate) async fn play_telling(
        &self,
        lines: &[String],
        room: &Room,
        mut told: impl FnMut(usize, usize) + Send,
    ) -> Result<(), Error> {
        let all = commands(lines);
        let count = all.len();
        if let Some((line, _)) = all.iter().find(|(line, _)| !is_plain(may_fail(line).0)) {
            return Err(Error::Shell { line: line.clone() });
        }
        for (number, (line, input)) in (1..).zip(all) {
            told(number, count);
            let (line, input) = (reach::line(&line, room), reach::manifest(&input, room));
            let (text, may_fail) = may_fail(&line);
            match self.line(text, input).await {
                Err(why) if !may_fail => return Err(Error::Line { line, why }),
                _ => {}
            }
        }
        Ok(())
    }

    async fn line(&self, line: &str, input: String) -> Result<(), String> {
        let mut words = shlex::split(line).ok_or("a quote does not end")?;
        match words.first().map(String::as_str) {
            None => return Ok(()),
            Some("fault") => return self.fault(&words).await,
            Some("k") => words[0] = "kubectl".into(),
            Some("kubectl") => {}
            Some(verb) if table::root().children().any(|v| v.name() == verb) => {
                words.insert(0, "kubectl".into())
            }
            Some(other) => return Err(format!("{other:?} is neither kubectl nor fault")),
        }
        let ran = kubectl(words, input, &self.kubeconfig, LINE_MAX).await;
        if ran.code == 0 { Ok(()) } else { Err(ran.stderr.trim().to_string()) }
    }

    /// `fault …`, through the same door as everybody.
    async fn fault(&self, words: &[String]) -> Result<(), String> {
        let fault = Fault::parse(words.get(1..).unwrap_or_default())?;
        let asked = async {
            let mut control = Control::connect(&self.place).await.map_err(|e| e.to_string())?;
            control.ask(&Ask::Fault { fault }).await.map(drop).map_err(|e| e.to_string())
        };
        let late = |_| Err(format!("gave up after {} s", LINE_MAX.as_secs()));
        tokio::time::timeout(LINE_MAX, asked).await.unwrap_or_else(late)
    }
}

/// The line without a `-` before it, and whether there was one.
fn may_fail(line: &str) -> (&str, bool) {
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
fn is_plain(line: &str) -> bool {
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

/// Runs kubectl in this process; one that takes too long is cancelled and has code 124. Of a long
/// output the beginning is kept.
pub(crate) async fn kubectl(words: Vec<String>, input: String, kubeconfig: &Path, limit: Duration) -> Ran {
    kubectl_up_to(OUTPUT_MAX, words, input, kubeconfig, limit).await
}

/// Runs kubectl as [`kubectl`] does, and keeps so many bytes of its output.
pub(crate) async fn kubectl_up_to(
    bytes: usize,
    words: Vec<String>,
    input: String,
    kubeconfig: &Path,
    limit: Duration,
) -> Ran {
    let out = Kept::up_to(bytes);
    let (code, stderr) = run(words, input, kubeconfig, limit, Box::new(out.clone())).await;
    Ran { code, stdout: out.text(), stderr }
}

/// Runs kubectl as [`kubectl`] does. Of a long output the end is kept, from the beginning of a line
/// on.
pub(crate) async fn kubectl_from_the_end(words: Vec<String>, kubeconfig: &Path, limit: Duration) -> Ran {
    let out = Tail::of(OUTPUT_MAX);
    let (code, stderr) = run(words, String::new(), kubeconfig, limit, Box::new(out.clone())).await;
    Ran { code, stdout: out.text(), stderr }
}

/// Runs kubectl; returns its code and what it said of errors.
async fn run(
    words: Vec<String>,
    input: String,
    kubeconfig: &Path,
    limit: Duration,
    stdout: Box<dyn AsyncWrite + Send + Unpin>,
) -> (i32, String) {
    let err = Kept::up_to(OUTPUT_MAX);
    let cancel = CancellationToken::new();
    // Also if nobody waits for the end of it any more.
    let _cancelled = cancel.clone().drop_guard();
    let io = Io {
        stdin: Box::new(Cursor::new(input.into_bytes())),
        stdout,
        stderr: Box::new(err.clone()),
        terminal: None,
        own: false,
        cancel: cancel.clone(),
    };
    let env = Env { kubeconfig: Some(kubeconfig.into()), cwd: "/".into(), ..Env::default() };
    let code = match tokio::time::timeout(limit, kubectl::run(words, io, env)).await {
        Ok(code) => code,
        Err(_) => {
            cancel.cancel();
            err.push(format!("gave up after {} s\n", limit.as_secs()).as_bytes());
            124
        }
    };
    (code, err.text())
}

/// Keeps the last bytes of what is written to it. Clones share what is kept.
#[derive(Clone)]
struct Tail {
    bytes: Arc<Mutex<Vec<u8>>>,
    most: usize,
}

impl Tail {
    fn of(most: usize) -> Tail {
        Tail { bytes: Arc::default(), most }
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock()
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.bytes();
        kept.extend_from_slice(bytes);
        // One byte more than the text may have tells that something is gone. Not with every write:
        // what is cut off moves all the rest.
        if kept.len() > 2 * self.most {
            let gone = kept.len() - self.most - 1;
            kept.drain(..gone);
        }
    }

    /// What is kept, without the rest of a line whose beginning is gone; a single line that is too
    /// long keeps its end.
    fn text(&self) -> String {
        let kept = self.bytes();
        let gone = kept.len().saturating_sub(self.most);
        let mut last = &kept[gone..];
        if gone > 0 && kept[gone - 1] != b'\n' {
            let next = last.iter().position(|b| *b == b'\n').map_or(0, |end| end + 1);
            last = if next < last.len() { &last[next..] } else { last };
        }
        String::from_utf8_lossy(last).into_owned()
    }
}

impl AsyncWrite for Tail {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// More output than this is cut: nobody checks it.
const OUTPUT_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// A program writes long lines: what it wrote last is what the learner has just caused.
    #[test]
    fn of_a_long_log_the_newest_lines_are_kept() {
        let tail = |lines: &[&str]| {
            let tail = Tail::of(10);
            lines.iter().for_each(|line| tail.push(line.as_bytes()));
            tail.text()
        };
        assert_eq!(tail(&["a\n", "b\n"]), "a\nb\n");
        assert_eq!(tail(&["an older line\n", "newest\n"]), "newest\n", "half a line is none");
        assert_eq!(tail(&["old\n", "123456789\n"]), "123456789\n", "a whole one is kept");
        assert_eq!(tail(&["a line that is too long\n"]), " too long\n");
        let all: Vec<String> = (0..100).map(|n| format!("{n}\n")).collect();
        assert_eq!(tail(&all.iter().map(String::as_str).collect::<Vec<_>>()), "97\n98\n99\n");
    }

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

    #[tokio::test]
    async fn half_a_way_is_not_gone() {
        let dir = tempfile::tempdir().unwrap();
        let place = cluster::Home::at(dir.path()).cluster("none").unwrap();
        let teacher = Teacher { place, kubeconfig: dir.path().join("none") };
        let lines = ["kubectl get pods", "-curl localhost"].map(String::from);
        // Without a cluster the first line would have failed by itself.
        let error = teacher.play(&lines, &Room::default()).await.unwrap_err();
        assert!(matches!(&error, Error::Shell { line } if line == "-curl localhost"), "{error}");
        let error = teacher.play(&lines[..1], &Room::default()).await.unwrap_err();
        assert!(matches!(error, Error::Line { .. }), "{error}");
        // The sign of one that may fail is no word of it.
        let may_fail = teacher.play(&["-kubectl get pods".into()], &Room::default()).await;
        assert!(may_fail.is_ok(), "{may_fail:?}");
        let mut told = vec![];
        let lines = ["-kubectl get pods", "-kubectl get nodes"].map(String::from);
        let played = teacher.play_telling(&lines, &Room::default(), |at, of| told.push((at, of))).await;
        assert!(played.is_ok());
        assert_eq!(told, [(1, 2), (2, 2)]);
    }

    #[test]
    fn manifests_follow_their_command() {
        let lines = ["kubectl apply -f -", "a: 1", "b: 2", ".", "kubectl get pods"].map(String::from);
        let want = [("kubectl apply -f -", "a: 1\nb: 2\n"), ("kubectl get pods", "")];
        assert_eq!(commands(&lines), want.map(|(a, b)| (a.to_string(), b.to_string())));
    }
}
