//! The real etcdctl and the built-in one, on a real etcd and on this store: four pairs, one script,
//! one answer.

use super::super::support::{ROPEWALK, skip};
use super::pair::{Ours, Real, on_path};
use regex::Regex;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const LINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/etcdctl/lines.txt");

/// Runs what does not end by itself until N pieces of its output, cut at lines and commas, have a
/// word in them; then it is sent TERM. Answers with its code.
const UNTIL_SAYS: &str = r#"
until_says() {
    n=$1 word=$2; shift 2; : >said; "$@" >said & pid=$!
    while [ "$(tr ',' '\n' <said | grep -c -e "$word")" -lt "$n" ] && kill -0 $pid 2>/dev/null; do sleep 0.1; done
    { kill $pid; wait $pid; code=$?; } 2>/dev/null # a shell may name the signal
    cat said; return $code
}
"#;

/// Sections with their lines; what stands before the first is the heading.
fn sections() -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(LINES).unwrap();
    let mut found: Vec<(String, Vec<String>)> = vec![];
    for line in text.lines().filter(|l| !l.is_empty()) {
        match (line.strip_prefix("== "), found.last_mut()) {
            (Some(name), _) => found.push((name.into(), vec![])),
            (None, Some((_, lines))) => lines.push(line.into()),
            (None, None) => {}
        }
    }
    assert!(found.len() > 5, "{LINES} has no sections");
    found
}

/// How to reach a store.
struct Store {
    variables: Vec<(&'static str, String)>,
}

impl Store {
    fn of(ours: &Ours) -> Store {
        let file = |name: &str| ours.files.join(name).display().to_string();
        Store {
            variables: vec![
                ("ETCDCTL_ENDPOINTS", format!("https://127.0.0.1:{}", ours.port)),
                ("ETCDCTL_CACERT", file("ca.crt")),
                ("ETCDCTL_CERT", file("client.crt")),
                ("ETCDCTL_KEY", file("client.key")),
            ],
        }
    }
    fn real(real: &Real) -> Store {
        Store { variables: vec![("ETCDCTL_ENDPOINTS", format!("http://127.0.0.1:{}", real.port))] }
    }
}

/// What a shell says when it runs a line whose `etcdctl` is this one.
fn run(store: &Store, bin: &Path, home: &Path, line: &str) -> String {
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{UNTIL_SAYS}{line}")])
        .env("PATH", path)
        .env("ROPEWALK_HOME", home)
        .env_remove("KUBECONFIG");
    command.envs(store.variables.iter().map(|(name, value)| (name, value))).current_dir(home);
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    // etcd's client library logs there, too
    for line in String::from_utf8_lossy(&output.stderr).lines().filter(|l| !l.starts_with("{\"level\"")) {
        let _ = writeln!(said, "! {line}");
    }
    if !output.status.success() {
        let _ = writeln!(said, "= {}", output.status.code().unwrap_or(-1));
    }
    said
}

/// Replaces what differs from run to run, and takes note of new leases.
fn normal(text: &str, leases: &mut Vec<String>) -> String {
    let lease = Regex::new(r"lease ([0-9a-f]{16}) granted with TTL\(\d+s\)\n").unwrap();
    leases.extend(lease.captures_iter(text).map(|c| c[1].to_string()));
    let rules = [
        (
            r#"("(?:ttl|TTL|cluster_id|member_id|raft_term|raftTerm|raftIndex|raftAppliedIndex|dbSize|dbSizeInUse|leader|ID|id|lease)":)\d+"#,
            "${1}N",
        ),
        (r#"("(?:TTL|ClusterID|MemberID|RaftTerm|Leader|ID|Lease)" : )[1-9]\d*"#, "${1}N"),
        (r"https?://(127\.0\.0\.1|localhost):\d+", "URL"),
        (r"\b[0-9a-f]{14,16}\b", "ID"),
        (r"\b3\.\d+\.\d+(\+ropewalk[\d.]+)?\b", "VERSION"),
        (r"\b\d+(\.\d+)?(ns|µs|ms|s)\b", "TIME"),
        (r"\d+(\.\d+)? [kM]?B, true, false, \d+, \d+, \d+", "SIZE, true, false, T, I, I"),
        // The built-in client answers as etcdctl 3.6, the real one here is of 3.4: what 3.6 has
        // beside it.
        (r"(?m)^! (URL is healthy)", "${1}"),
        (
            r"VERSION, [^,\n]*, [^,\n]*B, [^,\n]*B, \d+%, (?:SIZE|[^,\n]*B), true, false, (?:T, I, I|\d+, \d+, \d+), (.*), , false\n",
            "VERSION, SIZE, true, false, T, I, I, ${1}\n",
        ),
        (r#","(?:dbSizeQuota|hash_revision)":\d+"#, ""),
        (r#","storageVersion":"VERSION""#, ""),
        (r#","downgradeInfo":\{\}"#, ""),
        (r#"(?m)^"HashRevision" : \d+\n"#, ""),
        (r#"(?m)^"Revision" : 0\n"#, ""),
        (r"(?m)^(Finished defragmenting etcd member\[URL\])\. took TIME$", "${1}"),
        ("snapshot save expects one argument <filename>", "snapshot save expects one argument"),
        // 3.6 gives an answer about alarms its head, 3.4 does not.
        (r#"(?m)^\{("header":\{"cluster_id":N,"member_id":N,"revision":\d+,"raft_term":N\}\})$"#, "{}"),
        (r#""ResponsePut":"#, r#""response_put":"#),
        (r#""ResponseRange":"#, r#""response_range":"#),
        ("API version: 3.6", "API version: 3.4"),
    ];
    rules.iter().fold(text.to_string(), |text, (pattern, word)| {
        Regex::new(pattern).unwrap().replace_all(&text, *word).into_owned()
    })
}

/// Everything that a section's lines say, line by line.
async fn play(real_store: bool, bin: &Path, lines: &[String]) -> Option<Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let (ours, real);
    let store = match real_store {
        true => {
            real = Real::start(dir.path()).await?;
            Store::real(&real)
        }
        false => {
            ours = Ours::start(dir.path()).await;
            Store::of(&ours)
        }
    };
    let mut leases: Vec<String> = Vec::new();
    let mut said = Vec::new();
    for line in lines {
        let line =
            (0..leases.len()).fold(line.clone(), |l, n| l.replace(&format!("$L{}", n + 1), &leases[n]));
        let (bin, home) = (bin.to_path_buf(), dir.path().to_path_buf());
        // the store is served by this runtime's other threads meanwhile
        said.push(normal(&tokio::task::block_in_place(|| run(&store, &bin, &home, &line)), &mut leases));
    }
    Some(said)
}

/// What etcdctl 3.6 answers otherwise than the 3.4 that the other test compares with.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn health_and_status_answer_as_etcdctl_3_6() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(ROPEWALK, dir.path().join("etcdctl")).unwrap();
    let ours = Ours::start(dir.path()).await;
    let store = Store::of(&ours);
    let said = |line: &str| tokio::task::block_in_place(|| run(&store, dir.path(), dir.path(), line));
    let healthy = said("etcdctl endpoint health");
    assert!(!healthy.starts_with('!') && healthy.contains(" is healthy: successfully"), "{healthy}");
    let sick = said("etcdctl endpoint health --endpoints https://127.0.0.1:1 --dial-timeout 1s");
    assert!(sick.starts_with("! ") && sick.contains(" is unhealthy: failed to commit proposal"), "{sick}");
    let table = said("etcdctl endpoint status -w table");
    let headings: Vec<&str> = table.lines().nth(1).unwrap_or_default().split('|').map(str::trim).collect();
    assert_eq!(
        headings,
        [
            "",
            "ENDPOINT",
            "ID",
            "VERSION",
            "STORAGE VERSION",
            "DB SIZE",
            "IN USE",
            "PERCENTAGE NOT IN USE",
            "QUOTA",
            "IS LEADER",
            "IS LEARNER",
            "RAFT TERM",
            "RAFT INDEX",
            "RAFT APPLIED INDEX",
            "ERRORS",
            "DOWNGRADE TARGET VERSION",
            "DOWNGRADE ENABLED",
            ""
        ],
        "{table}"
    );
}

#[test]
fn both_clients_say_the_same_on_both_stores() {
    let Some(program) = on_path("etcdctl") else {
        return skip("there is no etcdctl on PATH to compare with");
    };
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str, program: &Path| -> PathBuf {
        let dir = dir.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::os::unix::fs::symlink(program, dir.join("etcdctl")).unwrap();
        dir
    };
    let (theirs, ours) = (folder("theirs", &program), folder("ours", Path::new(ROPEWALK)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    let mut wrong = String::new();
    for (name, lines) in sections() {
        let played = |real_store: bool, bin: &Path| {
            let (bin, lines) = (bin.to_path_buf(), lines.clone());
            let played = runtime.spawn(async move { play(real_store, &bin, &lines).await });
            runtime.block_on(played).unwrap()
        };
        let Some(expected) = played(true, &theirs) else { return };
        for (pair, real_store, bin) in [
            ("etcdctl on this store", false, &theirs),
            ("ours on etcd", true, &ours),
            ("ours on this store", false, &ours),
        ] {
            let said = played(real_store, bin).unwrap_or_default();
            assert_eq!(said.len(), lines.len());
            for ((line, expected), said) in
                lines.iter().zip(&expected).zip(&said).filter(|((_, e), s)| e != s)
            {
                let _ = writeln!(
                    wrong,
                    "== {name}, {pair}: $ {line}\n--- it should say\n{expected}--- it says\n{said}"
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
