//! Plugins: programs on PATH whose names start with `kubectl-`.

use crate::Env;
use crate::ctx::{Ctx, Input};
use crate::error::{Fail, text};
use crate::output::Output;
use crate::table;
use crate::table::Verb;
use api::gostr::{io_error, quote};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt};

const PREFIX: &str = "kubectl-";
/// Bytes of a plugin's output that are read at a time.
const PIECE: usize = 16 << 10;
/// Verbs that a plugin may add a word to.
const OPEN: [&str; 1] = ["create"];

fn folders(env: &Env) -> Vec<PathBuf> {
    let path = env.vars.get("PATH").map_or("", String::as_str);
    path.split(':').filter(|d| !d.trim().is_empty()).map(|d| env.cwd.join(d)).collect()
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

pub(crate) async fn list(ctx: &Ctx) -> Result<(), Fail> {
    let mut found: Vec<PathBuf> = vec![];
    let mut count = 0;
    let mut seen = std::collections::BTreeSet::new();
    for folder in folders(&ctx.env).into_iter().filter(|f| seen.insert(f.clone())) {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                let why = crate::error::go_io(&error);
                ctx.note(format!(
                    "Unable to read directory {} from your PATH: open {}: {why}. Skipping...",
                    quote(&folder.display().to_string()),
                    folder.display()
                ));
                continue;
            }
        };
        // A link is none, whatever it leads to.
        let is_folder = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let mut names: Vec<PathBuf> =
            entries.flatten().filter(|entry| !is_folder(entry)).map(|entry| entry.path()).collect();
        names.sort();
        found.extend(names.into_iter().filter(|path| name_of(path).starts_with(PREFIX)));
    }
    if found.is_empty() {
        return text("unable to find any kubectl plugins in your PATH");
    }
    ctx.line("The following compatible plugins are available:\n");
    let mut first: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in found {
        let name = name_of(&path);
        ctx.line(if ctx.flags.is("name-only") { name.clone() } else { path.display().to_string() });
        for fault in faults(&path, &first) {
            ctx.note(format!("  - {fault}"));
            count += 1;
        }
        first.entry(name).or_insert(path);
    }
    match count {
        0 => Ok(()),
        1 => text("one plugin warning was found"),
        n => text(format!("{n} plugin warnings were found")),
    }
}

/// The faults of a plugin, in kubectl's order. `first` has the path at which each name was found
/// first.
fn faults(path: &Path, first: &BTreeMap<String, PathBuf>) -> Vec<String> {
    let (name, file, mut found) = (name_of(path), path.display(), vec![]);
    match std::fs::metadata(path) {
        Ok(_) if is_program(path) => {}
        Ok(_) => {
            found.push(format!("warning: {file} identified as a kubectl plugin, but it is not executable"))
        }
        Err(error) => found.push(format!(
            "error: unable to identify {file} as an executable file: stat {file}: {}",
            crate::error::go_io(&error)
        )),
    }
    if let Some(other) = first.get(&name) {
        let other = other.display();
        found.push(format!("warning: {file} is overshadowed by a similarly named plugin: {other}"));
    }
    if let Some(verb) = overwritten(&name) {
        let verb = quote(&verb.command_path());
        found.push(format!("warning: {name} overwrites existing command: {verb}"));
    }
    found
}

/// The verb that the words of a plugin's name lead to, as cobra's `Find` goes: that of
/// `kubectl-create-job-x` is `create job`. As in kubectl it counts as overwritten, also where the
/// plugin is run, as `kubectl-create-x` is.
fn overwritten(name: &str) -> Option<&'static Verb> {
    let mut words = name.strip_prefix(PREFIX)?.split('-');
    let first = table::root().child(words.next()?)?;
    Some(words.try_fold(first, |verb, word| verb.child(word).ok_or(verb)).unwrap_or_else(|verb| verb))
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The words that the name of a plugin may consist of, and how many it has at least; `None`: they
/// are a verb's.
pub(crate) fn words_for_name(words: &[String]) -> Option<(Vec<String>, usize)> {
    let plain: Vec<String> =
        words.iter().take_while(|w| !w.starts_with('-')).map(|w| w.replace('-', "_")).collect();
    // A verb is a verb; only some take words that they do not know.
    let known = plain.first().and_then(|w| table::root().child(w));
    if plain.is_empty() || known.is_some_and(|v| !OPEN.contains(&v.path) || plain.len() < 2) {
        return None;
    }
    if known.is_some_and(|v| plain.get(1).is_some_and(|w| v.child(w).is_some())) {
        return None;
    }
    let shortest = if known.is_some() { 2 } else { 1 };
    Some((plain, shortest))
}

/// The plugin that words mean if they are no verb, and the words that are left for it: the longest
/// name wins.
pub(crate) fn find(words: &[String], env: &Env) -> Option<(PathBuf, Vec<String>)> {
    let (plain, shortest) = words_for_name(words)?;
    for length in (shortest..=plain.len()).rev() {
        let name = format!("{PREFIX}{}", plain[..length].join("-"));
        if let Some(path) = folders(env).into_iter().map(|f| f.join(&name)).find(|p| is_program(p)) {
            return Some((path, words[length..].to_vec()));
        }
    }
    None
}

/// Runs a plugin and returns its exit code. Without `input` it inherits this process' own streams;
/// else it reads that, and its output is passed on as it comes, so that none of it is kept.
pub(crate) async fn run(
    path: &Path,
    words: &[String],
    env: &Env,
    input: Option<Input>,
    output: &Output,
) -> Result<(), Fail> {
    let mut command = std::process::Command::new(path);
    command.args(words).env_clear().envs(&env.vars).current_dir(&env.cwd);
    if let Some(config) = &env.kubeconfig {
        command.env("KUBECONFIG", config);
    }
    // As Go's: no shell reads a plugin that has no `#!`.
    let is_prepared = linux::process::start_by_execve(&mut command);
    is_prepared.map_err(|error| Fail::Plain(format!("Error: {}", io_error(&error))))?;
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    output.flush().await;
    let status = match input {
        None => command.status().await,
        Some(input) => {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            passing_on(command, input, output).await
        }
    };
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Fail::Exit(code_of(status))),
        Err(error) => Err(Fail::Plain(format!("Error: {}", io_error(&error)))),
    }
}

/// The exit code of a plugin that failed. kubectl becomes its plugin, so a shell sees the signal
/// that ends it: SIGKILL is 137.
fn code_of(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1)
}

/// Runs a program whose streams are pipes, gives it `input` and writes its output to `output`.
async fn passing_on(
    mut command: tokio::process::Command,
    mut input: Input,
    output: &Output,
) -> std::io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let stdin = child.stdin.take();
    let give = async {
        if let Some(mut stdin) = stdin {
            let _ = tokio::io::copy(&mut input, &mut stdin).await; // a plugin may not read all of it
        }
        std::future::pending().await
    };
    let work = async {
        let (out, err) = futures::join!(
            pass_on(out, output, |bytes| output.bytes(bytes)),
            pass_on(err, output, |bytes| output.err_bytes(bytes))
        );
        out.and(err)?;
        child.wait().await
    };
    tokio::select! { ended = work => ended, never = give => never }
}

/// Writes what comes out of a pipe until its end, one piece after another.
async fn pass_on(
    pipe: Option<impl AsyncRead + Unpin>,
    output: &Output,
    write: impl Fn(&[u8]),
) -> std::io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut piece = vec![0; PIECE];
    loop {
        match pipe.read(&mut piece).await? {
            0 => return Ok(()),
            length => write(&piece[..length]),
        }
        output.flush().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::Kept;
    use crate::testing::Server;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    #[tokio::test]
    async fn what_a_plugin_says_is_passed_on_while_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let input: Input = Box::new(std::io::Cursor::new(b"one\n".to_vec()));
        let script = "cat; echo two >&2; while ! test -e end; do sleep 0.05; done; exit 3";
        let words = ["-c".to_string(), script.to_string()];
        let env = Env { cwd: dir.path().into(), ..Env::of_process() };
        let (out, err) = (Kept::all(), Kept::all());
        let output = Output::new(Box::new(out.clone()), Box::new(err.clone()));
        let seen = async {
            while out.text() != "one\n" || err.text() != "two\n" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            std::fs::write(dir.path().join("end"), "").unwrap();
        };
        let both = futures::future::join(run(Path::new("/bin/sh"), &words, &env, Some(input), &output), seen);
        let (ended, ()) = tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
        assert!(matches!(ended, Err(Fail::Exit(3))), "{ended:?}");
    }

    #[tokio::test]
    async fn a_plugin_that_is_ended_or_not_run_fails_as_kubectl_does() {
        let env = Env { cwd: "/".into(), ..Env::of_process() };
        let output = Output::new(Box::new(Kept::all()), Box::new(Kept::all()));
        let failed = async |path: &str, words: &[String]| {
            let input: Input = Box::new(std::io::Cursor::new(b"".to_vec()));
            run(Path::new(path), words, &env, Some(input), &output).await.unwrap_err()
        };
        let killed = failed("/bin/sh", &["-c".to_string(), "kill -9 $$".to_string()]).await;
        assert!(matches!(killed, Fail::Exit(137)), "{killed:?}");
        // Written by a process of its own: a file that is open for writing cannot be executed, and
        // another test may start a program at that moment.
        let dir = tempfile::tempdir().unwrap();
        let plugin = dir.path().join("kubectl-x");
        let write = format!("echo 'exit 0' > {0}; chmod +x {0}", plugin.display());
        assert!(std::process::Command::new("/bin/sh").args(["-c", &write]).status().unwrap().success());
        let no_program = failed(plugin.to_str().unwrap(), &[]).await;
        let is_explained = matches!(&no_program, Fail::Plain(why) if why == "Error: exec format error");
        assert!(is_explained, "no shell reads it: {no_program:?}");
        let lost = failed("/nowhere", &[]).await;
        assert!(matches!(&lost, Fail::Plain(why) if why == "Error: no such file or directory"), "{lost:?}");
    }

    #[tokio::test]
    async fn a_list_says_what_is_wrong_with_each_plugin() {
        let (server, dir) = (Server::away().await, tempfile::tempdir().unwrap());
        let folder = |name: &str| dir.path().join(name);
        for (place, mode) in [
            ("a/kubectl-x", 0o755),
            ("b/kubectl-create-job-y", 0o755),
            ("b/kubectl-create-y", 0o755),
            ("b/kubectl-x", 0o644),
        ] {
            let path = folder(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("../a", folder("b/kubectl-folder")).unwrap();
        symlink("/nowhere", folder("b/kubectl-lost")).unwrap();
        let (a, b) = (folder("a").display().to_string(), folder("b").display().to_string());
        let env = Env { vars: [("PATH".to_string(), format!("{a}:{b}"))].into(), ..Env::default() };
        let result = server.kubectl_in(&["plugin", "list"], "", env).await;
        let lines: Vec<String> =
            result.err.lines().map(|line| line.replace(&b, "B").replace(&a, "A")).collect();
        let verb = |path: &str| quote(&table::named(path).command_path());
        let want = [
            format!("  - warning: kubectl-create-job-y overwrites existing command: {}", verb("create job")),
            format!("  - warning: kubectl-create-y overwrites existing command: {}", verb("create")),
            "  - warning: B/kubectl-folder identified as a kubectl plugin, but it is not executable".into(),
            "  - error: unable to identify B/kubectl-lost as an executable file: stat B/kubectl-lost: no such file or directory".into(),
            "  - warning: B/kubectl-x identified as a kubectl plugin, but it is not executable".into(),
            "  - warning: B/kubectl-x is overshadowed by a similarly named plugin: A/kubectl-x".into(),
            "error: 6 plugin warnings were found".into(),
        ];
        assert_eq!((result.code, lines), (1, want.to_vec()), "{}", result.out);
    }

    #[test]
    fn the_longest_name_wins_and_verbs_stay_verbs() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "kubectl-foo",
            "kubectl-foo-bar_baz",
            "kubectl-get",
            "kubectl-create-thing",
            "kubectl-create-job",
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let env = Env {
            vars: [("PATH".to_string(), dir.path().display().to_string())].into(),
            cwd: "/".into(),
            ..Env::default()
        };
        let found = |line: &str| {
            let words: Vec<String> = line.split(' ').map(String::from).collect();
            find(&words, &env).map(|(path, rest)| (name_of(&path), rest.join(" ")))
        };
        assert_eq!(found("foo bar-baz x --y"), Some(("kubectl-foo-bar_baz".into(), "x --y".into())));
        assert_eq!(found("foo quux"), Some(("kubectl-foo".into(), "quux".into())));
        assert_eq!(found("create thing a"), Some(("kubectl-create-thing".into(), "a".into())));
        for line in ["get pods", "create job x", "create -f x", "nothing", "--foo"] {
            assert_eq!(found(line), None, "{line}");
        }
    }
}
