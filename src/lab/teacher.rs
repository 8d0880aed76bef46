//! Lines run as the teacher: a lesson's setup, its faults, and earlier steps that are played to
//! reach a later one. Only kubectl's and `fault` lines, and what needs no shell beside them
//! ([`played_commands`]): what needs one has no place in a setup that has to work everywhere.

use super::error::Error;
use super::lines::without_shell::{LOOKS, pause, played_commands};
use super::lines::{in_scope, machine, may_fail};
use cluster::Place;
use cluster::control::{Ask, Control};
use cluster::faults::Fault;
use cluster::guest::LessonScope;
use kubectl::kept::Kept;
use kubectl::{self, Env, Io, table};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio_util::sync::CancellationToken;

/// A line of a setup that takes longer has failed.
pub(crate) const LINE_MAX: Duration = Duration::from_secs(240);

/// How a command of kubectl's ended, and what it printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs lines of kubectl's and of `fault` as the teacher.
#[derive(Clone)]
pub(crate) struct Teacher {
    pub place: Place,
    pub kubeconfig: PathBuf,
}

impl Teacher {
    /// Runs lines in order, in a scope, and stops at the first that fails. A line that begins with
    /// `-` may fail, as in a Makefile: what it makes may be there. Where one of them needs a shell,
    /// none is run: a later line may need what it would have done.
    ///
    /// # Errors
    /// [`Error::Shell`] and [`Error::Line`], each with the line.
    pub(crate) async fn play(&self, lines: &[String], scope: &LessonScope) -> Result<(), Error> {
        self.play_telling(lines, scope, |_, _| {}).await
    }

    /// Runs lines as [`Teacher::play`] does. Before each line `begins` gets its number, from 1, and
    /// the number of all lines.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn play_telling(
        &self,
        lines: &[String],
        scope: &LessonScope,
        mut begins: impl FnMut(usize, usize) + Send,
    ) -> Result<(), Error> {
        let all = played_commands(lines).map_err(|line| Error::Shell { line })?;
        let count = all.len();
        for (number, (line, input)) in (1..).zip(all) {
            begins(number, count);
            let (line, input) = (in_scope::line(&line, scope), in_scope::manifest(&input, scope));
            let (text, may_fail) = may_fail(&line);
            if let Some(pause) = pause(text) {
                clock::pause(pause).await;
                continue;
            }
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
            // A line of a solution that writes a file which later lines read, or shows something.
            Some("cat") => return Ok(()),
            Some(program) if LOOKS.contains(&program) => return Ok(()),
            Some(verb) if table::root().children().any(|v| v.name() == verb) => {
                words.insert(0, "kubectl".into())
            }
            Some(other) => return Err(format!("{other:?} is neither kubectl nor fault")),
        }
        let ran = kubectl(words, input, &self.kubeconfig, LINE_MAX).await;
        if ran.code == 0 { Ok(()) } else { Err(ran.stderr.trim().to_string()) }
    }

    /// Sends a fault to the cluster's control socket, as a learner's `fault` does.
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
    let out = Kept::from_the_end(OUTPUT_MAX);
    let (code, stderr) = run(words, String::new(), kubeconfig, limit, Box::new(out.clone())).await;
    Ran { code, stdout: out.text(), stderr }
}

/// Runs kubectl; returns its code and what it said of errors. A line that reaches files, programs
/// or ports of this machine is refused.
async fn run(
    words: Vec<String>,
    input: String,
    kubeconfig: &Path,
    limit: Duration,
    stdout: Box<dyn AsyncWrite + Send + Unpin>,
) -> (i32, String) {
    // The author of the line is not the owner of the machine that it runs on.
    if let Some(why) = machine::refusal(words.get(1..).unwrap_or_default()) {
        return (1, format!("{why}\n"));
    }
    let err = Kept::up_to(OUTPUT_MAX);
    let cancel = CancellationToken::new();
    // Also if no caller waits for the end of it any more.
    let _cancelled = cancel.clone().drop_guard();
    let io = Io {
        stdin: Box::new(Cursor::new(input.into_bytes())),
        stdout,
        stderr: Box::new(err.clone()),
        terminal: None,
        stdout_is_terminal: false,
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

/// More output than this is cut.
const OUTPUT_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// A stranger's setup runs as soon as the learner opens the lesson.
    #[tokio::test]
    async fn a_setup_leaves_the_machine_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = cluster::Home::at(dir.path()).cluster("none").unwrap();
        let teacher = Teacher { place, kubeconfig: dir.path().join("none") };
        let (config, ran) = (dir.path().join("config"), dir.path().join("ran"));
        let (config, touch) = (config.display(), ran.display());
        let lines = [
            format!("-kubectl config set-cluster a --server=https://127.0.0.1:1 --kubeconfig={config}"),
            format!(
                "-kubectl config set-credentials a --exec-command=/bin/sh --exec-arg=-c --exec-arg='> {touch}' \
                 --exec-api-version=client.authentication.k8s.io/v1 --exec-interactive-mode=Never --kubeconfig={config}"
            ),
            format!("-kubectl config set-context a --cluster=a --user=a --kubeconfig={config}"),
            format!("-kubectl get pods --context=a --kubeconfig={config}"),
        ];
        let played = teacher.play(&lines, &LessonScope::default()).await;
        assert!(played.is_ok(), "each may fail: {played:?}");
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert!(!left.iter().any(|name| name == "config" || name == "ran"), "{left:?}");
        for (line, why) in [
            ("kubectl apply -f /etc/passwd", "needs a shell"),
            ("kubectl create configmap a --from-file=/etc/passwd", "ports of this machine"),
        ] {
            let refused = teacher.play(&[line.into()], &LessonScope::default()).await;
            let told = refused.unwrap_err().to_string();
            assert!(told.contains(line) && told.contains(why), "{told}");
        }
    }

    #[tokio::test]
    async fn half_a_way_is_not_gone() {
        let dir = tempfile::tempdir().unwrap();
        let place = cluster::Home::at(dir.path()).cluster("none").unwrap();
        let teacher = Teacher { place, kubeconfig: dir.path().join("none") };
        let lines = ["kubectl get pods", "-curl localhost"].map(String::from);
        // Without a cluster the first line would have failed by itself.
        let error = teacher.play(&lines, &LessonScope::default()).await.unwrap_err();
        assert!(matches!(&error, Error::Shell { line } if line == "-curl localhost"), "{error}");
        let error = teacher.play(&lines[..1], &LessonScope::default()).await.unwrap_err();
        assert!(matches!(error, Error::Line { .. }), "{error}");
        // The sign of one that may fail is no word of it.
        let may_fail = teacher.play(&["-kubectl get pods".into()], &LessonScope::default()).await;
        assert!(may_fail.is_ok(), "{may_fail:?}");
        let mut told = vec![];
        let lines = ["-kubectl get pods", "-kubectl get nodes"].map(String::from);
        let played =
            teacher.play_telling(&lines, &LessonScope::default(), |at, of| told.push((at, of))).await;
        assert!(played.is_ok());
        assert_eq!(told, [(1, 2), (2, 2)]);
    }
}
