//! The built-in kubectl against transcripts of the real one (1.35), and against the real one itself
//! when it is on PATH.
//!
//! A transcript is a list of command lines, each with what it said: standard output, `! ` before
//! lines of standard error, and `= N` for an exit code that is not 0. What differs from run to run
//! (ages, addresses, random names) is replaced by a word. To record them again:
//! `ROPEWALK_RECORD_KUBECTL=/path/to/kubectl cargo test --test it kubectl`.

use super::support::{Cluster, Home, PATIENCE, ROPEWALK, capable, turn};
use regex::Regex;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const TRANSCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kubectl");
/// The version whose words the built-in one has. Others differ in some texts.
const MINOR: u64 = 35;
/// The oldest that is compared with live, on the transcripts that every version can follow.
const OLDEST: u64 = 27;
/// Every version says the same here, but for [`NAMES_NAMESPACE`].
const PORTABLE: &[&str] = &["exercise"];
/// Since this version `delete` names the namespace.
const NAMES_NAMESPACE: u64 = 34;

struct Step {
    line: String,
    said: String,
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = vec![];
    for line in text.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(line), _) => steps.push(Step { line: line.into(), said: String::new() }),
            (None, Some(step)) => step.said.extend([line, "\n"]),
            (None, None) => {} // the heading
        }
    }
    for step in &mut steps {
        step.said = step.said.trim_end().to_string();
    }
    steps
}

/// A folder with a `kubectl` in it, to be first on PATH.
fn folder(home: &Home, name: &str, program: &Path) -> PathBuf {
    let dir = home.path().join(name);
    std::fs::create_dir_all(&dir).unwrap();
    std::os::unix::fs::symlink(program, dir.join("kubectl")).unwrap();
    dir
}

/// Runs a line in a shell whose `kubectl` is the one in `bin`, among the transcripts' files.
fn run(cluster: &Cluster, bin: &Path, line: &str, hide: &Normal) -> String {
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command: Command = cluster.home.command("sh");
    command.args(["-c", line]).env("PATH", path).env("KUBECONFIG", cluster.kubeconfig()).env("TZ", "UTC");
    command.current_dir(Path::new(TRANSCRIPTS).join("files")).env_remove("KUBECTL_EXTERNAL_DIFF");
    command.env("TMPDIR", cluster.home.path()); // what a failed edit leaves goes with the home
    let output = command.output().unwrap();
    let mut said = hide.normal(&String::from_utf8_lossy(&output.stdout));
    for line in hide.normal(&String::from_utf8_lossy(&output.stderr)).lines() {
        let _ = writeln!(said, "! {line}");
    }
    if !output.status.success() {
        let _ = writeln!(said, "= {}", output.status.code().unwrap_or(-1));
    }
    said.trim_end().to_string()
}

/// Replaces what differs from run to run.
struct Normal(Vec<(Regex, &'static str)>);

impl Normal {
    fn new() -> Normal {
        let rules = [
            // Of klog ours prints nothing. A wait that ends while its watch is young makes a line
            // now and then, which of the two is seen first.
            (r"(?m)^(WARNING: version difference|[EIW]\d{4} .*(memcache|reflector)\.go).*\n", ""),
            (r"Kustomize Version: .*", "Kustomize Version: K"),
            (r"v1\.\d+\.\d+(\+ropewalk|-[a-z]+)?", "VERSION"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+0000)", "TIME"),
            (r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000", "TIME"),
            (r"([0-9a-f]{64})", "ID"),
            (r#"(resourceVersion"?: "?|Resource Version:\s+)\d+"#, "${1}N"),
            (
                r"(-[bcdfghjklmnpqrstvwxz2456789]{6,10}|kube-proxy|kube-api-access|zz)-[bcdfghjklmnpqrstvwxz2456789]{5}\b",
                "${1}-XXXXX",
            ),
            (r"\b(10|172)\.\d+\.\d+\.\d+(/\d+)?", "IP"),
            (r"127\.0\.0\.1:\d+", "ADDRESS"),
            (r#"(:|nodePort"?: |unset>\s+)3\d{4}\b"#, "${1}PORT"),
            (r"ropewalk-worker2?\b", "WORKER"),
            (r#"[^\s"]*/(LIVE|MERGED|kubectl-edit)-\d+"#, "/tmp/${1}-N"),
            (r"\b\d+(s|m|h|d)(\d+[smhd])?\b", "AGE"),
            // Columns are as wide as what was replaced; how far a line is indented stays.
            (r"(\S) {2,}", "${1}  "),
            (r"(?m)[ \t]+$", ""),
        ];
        Normal(rules.map(|(pattern, word)| (Regex::new(pattern).unwrap(), word)).to_vec())
    }

    fn normal(&self, text: &str) -> String {
        // Where the files of the transcripts are is the machine's affair.
        let here = std::fs::canonicalize(TRANSCRIPTS).map(|p| p.display().to_string());
        let text = text.replace(here.as_deref().unwrap_or(TRANSCRIPTS), "");
        self.0.iter().fold(text, |text, (pattern, word)| pattern.replace_all(&text, *word).into_owned())
    }
}

fn transcripts() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(TRANSCRIPTS)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "txt"))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no transcripts in {TRANSCRIPTS}");
    found
}

/// A real kubectl and its minor version: the one whose words ours has, if it is beside the one on
/// PATH.
fn real() -> Option<(PathBuf, u64)> {
    let on_path = super::support::real_kubectl()?.program;
    let beside = std::fs::canonicalize(&on_path).ok()?.with_file_name(format!("kubectl.1.{MINOR}"));
    let program = if beside.is_file() { beside } else { on_path };
    let output = Command::new(&program).args(["version", "--client", "-o", "json"]).output().ok()?;
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let minor = version["clientVersion"]["minor"].as_str()?.trim_end_matches('+').parse().ok()?;
    (minor >= OLDEST).then_some((program, minor))
}

/// How long a read is repeated until it says what it should: controllers follow a write in their
/// own time, and `rollout status` may still see the state before it.
const CATCH_UP: Duration = PATIENCE;
/// The same once something was wrong: the list of the rest shall not take hours.
const CATCH_UP_WRONG: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// What these have written is to be read at once.
const WRITES: [&str; 9] =
    ["annotate", "apply", "create", "expose", "label", "patch", "replace", "run", "taint"];

/// The verb of a kubectl's line, behind a `-n NAMESPACE`.
fn verb(line: &str) -> String {
    let mut words = line.split_whitespace().skip(1).peekable();
    while words.next_if_eq(&"-n").is_some() {
        words.next();
    }
    words.next().unwrap_or_default().to_string()
}

/// What differs, as a list of both sides.
fn compare(name: &str, steps: &[Step], ours: impl Fn(&str) -> String) -> String {
    let mut wrong = String::new();
    let mut before = String::new();
    for step in steps {
        let began = Instant::now();
        let mut said = ours(&step.line);
        let now = verb(&step.line);
        let may_be_late = ["get", "describe"].contains(&now.as_str()) && !WRITES.contains(&before.as_str());
        let catch_up = if wrong.is_empty() { CATCH_UP } else { CATCH_UP_WRONG };
        while said != step.said && may_be_late && began.elapsed() < catch_up {
            std::thread::sleep(LOOK_AGAIN);
            said = ours(&step.line);
        }
        before = now;
        if said != step.said {
            let _ = writeln!(
                wrong,
                "{name}: $ {}\n--- it should say\n{}\n--- it says\n{said}\n",
                step.line, step.said
            );
        }
    }
    wrong
}

/// A transcript ends with its deletions; the pods go a little later.
fn wait_for_the_last_pods(cluster: &Cluster, bin: &Path, hide: &Normal) {
    run(cluster, bin, "kubectl wait --for=delete pods --all --timeout=180s", hide);
}

#[test]
fn the_built_in_one_says_what_the_real_one_said() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let cluster = home.up(&[]);
    let hide = Normal::new();
    let ours = folder(&home, "ours", Path::new(ROPEWALK));
    if let Some(program) = std::env::var_os("ROPEWALK_RECORD_KUBECTL") {
        let bin = folder(&home, "recorded", Path::new(&program));
        for file in transcripts() {
            let text = std::fs::read_to_string(&file).unwrap();
            let heading: String =
                text.lines().take_while(|l| !l.starts_with("$ ")).map(|l| format!("{l}\n")).collect();
            let steps: String = parse(&text)
                .iter()
                .map(|s| match run(&cluster, &bin, &s.line, &hide) {
                    said if said.is_empty() => format!("$ {}\n", s.line),
                    said => format!("$ {}\n{said}\n", s.line),
                })
                .collect();
            std::fs::write(&file, heading + &steps).unwrap();
        }
        return;
    }
    let mut wrong = String::new();
    for file in transcripts() {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let steps = parse(&std::fs::read_to_string(&file).unwrap());
        assert!(!steps.is_empty(), "{name} has no commands");
        wrong += &compare(&name, &steps, |line| run(&cluster, &ours, line, &hide));
        wait_for_the_last_pods(&cluster, &ours, &hide);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Other bytes than those given would be stored without a word.
#[test]
fn a_word_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::process::CommandExt as _;
    let word = std::ffi::OsStr::from_bytes(b"--from-literal=k=a\xffb");
    for (name, words) in [
        ("kubectl", ["create", "secret", "generic", "s", "--dry-run=client", "-oyaml"].as_slice()),
        ("etcdctl", &["put", "k"]),
    ] {
        let home = Home::new();
        let mut command = Command::new(ROPEWALK);
        command.arg0(name).args(words).arg(word).env("ROPEWALK_HOME", home.path());
        let said = command.output().expect("run");
        let told = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(told.contains("not valid UTF-8") && told.contains("xFF"), "{name}: {told}");
        assert_eq!((said.status.code(), said.stdout.len()), (Some(1), 0), "{name}");
    }
}

#[test]
fn a_real_one_says_the_same_now() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let Some((program, minor)) = real() else {
        eprintln!("skipped: there is no kubectl 1.{OLDEST} or later on PATH");
        return;
    };
    let home = Home::new();
    let cluster = home.up(&[]);
    let hide = Normal::new();
    let (theirs, ours) = (folder(&home, "theirs", &program), folder(&home, "ours", Path::new(ROPEWALK)));
    let mut wrong = String::new();
    for file in transcripts() {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if minor != MINOR && !PORTABLE.contains(&name.as_str()) {
            continue;
        }
        // A transcript leaves nothing behind, so the second run finds what the first found.
        let mut steps = parse(&std::fs::read_to_string(&file).unwrap());
        for step in &mut steps {
            step.said = run(&cluster, &theirs, &step.line, &hide);
        }
        wait_for_the_last_pods(&cluster, &ours, &hide);
        wrong += &compare(&name, &steps, |line| {
            let said = run(&cluster, &ours, line, &hide);
            match minor < NAMES_NAMESPACE {
                true => said.replace(" deleted from default namespace", " deleted"),
                false => said,
            }
        });
        wait_for_the_last_pods(&cluster, &ours, &hide);
    }
    assert!(wrong.is_empty(), "kubectl 1.{minor} says something else:\n{wrong}");
}
