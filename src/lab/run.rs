//! Lines run as the teacher: a lesson's setup, its faults, and earlier steps that are played to reach a later one. Only kubectl's and `fault` lines:
//! what needs a shell has no place in a setup that has to work everywhere.

use super::{Error, reach};
use crate::cluster::Place;
use crate::cluster::control::{Ask, Control};
use crate::cluster::faults::Fault;
use crate::cluster::guest::Room;
use crate::kubectl::kept::Kept;
use crate::kubectl::{self, Env, Io, table};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A line of a setup that takes longer has failed.
const LINE_MAX: Duration = Duration::from_secs(60);

/// What a command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The teacher's hands.
#[derive(Clone)]
pub struct Teacher {
    pub place: Place,
    pub kubeconfig: PathBuf,
}

impl Teacher {
    /// Runs lines in order, in a room, and stops at the first that fails. A line that begins with `-` may fail, as in a Makefile: what it makes may be there.
    pub async fn play(&self, lines: &[String], room: &Room) -> Result<(), Error> {
        for (line, input) in commands(lines) {
            let line = reach::line(&line, room);
            let (text, may_fail) =
                line.strip_prefix('-').map_or((line.as_str(), false), |rest| (rest.trim_start(), true));
            match self.line(text, input).await {
                Err(_) if !is_plain(text) => return Err(Error::Shell { line }),
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
        let mut control = Control::connect(&self.place).await.map_err(|e| e.to_string())?;
        control.ask(&Ask::Fault { fault }).await.map(drop).map_err(|e| e.to_string())
    }
}

/// Nothing in it only a shell could do.
fn is_plain(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    let known =
        ["fault", "k", "kubectl"].contains(&word) || table::root().children().any(|v| v.name() == word);
    known && !line.contains(['|', '>', '<', ';', '$', '`'])
}

/// Of a solution, what can be played by the teacher on any cluster: kubectl's own lines that need nothing of ours.
pub fn playable(lines: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for (line, input) in commands(lines) {
        let mut whole = vec![line];
        if !input.is_empty() {
            whole.extend(input.lines().map(String::from));
            whole.push(".".into());
        }
        if is_plain(&whole[0]) && reach::of_lines(&whole).is_empty() {
            all.extend(whole);
        }
    }
    all
}

/// Lines as (command, what it reads): a manifest follows its `-f -` up to a line `.`.
pub fn commands(lines: &[String]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut rest = lines.iter();
    while let Some(line) = rest.next() {
        let mut input = String::new();
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.windows(2).any(|w| matches!(w[0], "-f" | "--filename") && w[1] == "-") {
            for more in rest.by_ref().take_while(|l| !matches!(l.as_str(), "." | "EOF")) {
                input.push_str(more);
                input.push('\n');
            }
        }
        all.push((line.clone(), input));
    }
    all
}

/// Runs kubectl in this process; one that takes too long is cancelled and has code 124.
pub async fn kubectl(words: Vec<String>, input: String, kubeconfig: &Path, limit: Duration) -> Ran {
    let (out, err) = (Kept::up_to(OUTPUT_MAX), Kept::up_to(OUTPUT_MAX));
    let cancel = CancellationToken::new();
    let io = Io {
        stdin: Box::new(Cursor::new(input.into_bytes())),
        stdout: Box::new(out.clone()),
        stderr: Box::new(err.clone()),
        terminal: None,
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
    Ran { code, stdout: out.text(), stderr: err.text() }
}

/// More output than this is cut: nobody checks it.
const OUTPUT_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_step_that_is_passed_only_what_works_everywhere_is_played() {
        let lines =
            ["PORT=$(kubectl get svc)", "kubectl delete svc web", "curl localhost:1", "fault kill etcd"];
        let manifest = ["kubectl apply -f -", "kind: Pod", "."];
        let all: Vec<String> = lines.iter().chain(&manifest).map(ToString::to_string).collect();
        assert_eq!(playable(&all), ["kubectl delete svc web", "kubectl apply -f -", "kind: Pod", "."]);
    }

    #[test]
    fn manifests_follow_their_command() {
        let lines = ["kubectl apply -f -", "a: 1", "b: 2", ".", "kubectl get pods"].map(String::from);
        let want = [("kubectl apply -f -", "a: 1\nb: 2\n"), ("kubectl get pods", "")];
        assert_eq!(commands(&lines), want.map(|(a, b)| (a.to_string(), b.to_string())));
    }
}
