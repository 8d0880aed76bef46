//! What goes wrong is said: what happened, and what to do.

use super::support::{Home, ROPEWALK, Said, any_kubectl, capable, turn};
use std::net::TcpListener;

#[test]
fn wrong_command_lines_are_usage_errors() {
    let home = Home::new();
    for (args, part) in [
        (&["up", "--workers", "many"][..], "invalid value"),
        (&["upp"], "unrecognized subcommand"),
        (&["up", "--node-ports", "9-1"], "greater than"),
        (&["up", "--name", "../x", "--detach"], "cannot name a cluster"),
        (&["up", "--control-planes", "2", "--detach"], "use 1, 3 or 5"),
        (&["up", "--etcd-cafile", "ca.pem", "--detach"], "need --etcd"),
        (&["fault", "loss", "a", "b", "NaN"], "from 0 to 100"),
        (&["trace", "a/b/c/d"], "names nothing"),
        (&["trace", "-n", "shop"], "-n shop names nothing"),
    ] {
        let said = home.ropewalk(args);
        assert_eq!(said.code, 2, "{args:?}: {said:?}");
        assert!(said.err.contains(part), "{args:?}: {}", said.err);
    }
    home.ropewalk(&["fault", "kill", "etcd"]).fails("is not running");
    assert_eq!(home.ropewalk(&["trace"]).fails("is not running").code, 1);
    // What the cluster answers, it does not answer out of a directory that is named now.
    for (words, variable) in [
        (&["lesson", "check", "--lessons", "x"][..], "ROPEWALK_LESSONS=x"),
        (&["lesson", "solve", "first-voyage/04", "--lessons", "x"], "ROPEWALK_LESSONS=x"),
        (&["lab", "start", "broken-selector", "--labs", "x"], "ROPEWALK_LABS=x"),
        (&["lab", "grade", "--labs", "x"], "ROPEWALK_LABS=x"),
    ] {
        assert_eq!(home.ropewalk(words).fails(variable).code, 2, "{words:?}");
    }
    home.ropewalk(&["kubeconfig"]).fails("is not running");
    // kubectl's commands want one, its help does not.
    for line in ["get pods", "cluster-info", "config view", "version", "create cm x --dry-run=client"] {
        let words: Vec<&str> = ["kubectl"].into_iter().chain(line.split(' ')).collect();
        home.ropewalk(&words).fails("is not running");
    }
    for line in ["help rollout status", "rollout status --help", "version --client", "options"] {
        let words: Vec<&str> = ["kubectl"].into_iter().chain(line.split(' ')).collect();
        assert!(!home.ropewalk(&words).ok().is_empty(), "{line}");
    }
    let other = home.path().join("other");
    std::fs::write(&other, "{apiVersion: v1, kind: Config, current-context: there}").expect("a file");
    let other = other.to_str().expect("UTF-8");
    let named = home.ropewalk(&["kubectl", "--kubeconfig", other, "config", "current-context"]).ok();
    assert_eq!(named, "there\n", "another kubeconfig needs no cluster of this program");
    home.ropewalk(&["kubectl", "gett", "pods"]).fails("unknown command \"gett\"");
    home.ropewalk(&["reset", "--yes"]).ok();
    // What a session that was killed has left of a lesson's own cluster.
    let left = home.path().join("clusters/main-lesson");
    std::fs::create_dir_all(home.path().join("clusters/main")).expect("a directory");
    for _ in ["beside a cluster", "alone"] {
        std::fs::create_dir_all(&left).expect("a directory");
        std::fs::write(left.join("declared"), "probe/02").expect("a file");
        home.ropewalk(&["reset", "--yes"]).ok();
        assert!(!left.exists() && !home.path().join("clusters/main").exists());
    }
    home.ropewalk(&["down"]).ok();
    let said = home.ropewalk(&["status", "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((&status["state"], said.code), (&serde_json::json!("absent"), 3), "{said:?}");
    // What ends or wipes a cluster speaks the learner's language.
    std::fs::create_dir_all(home.path().join("clusters/main")).expect("a directory");
    for (words, part) in
        [(&["down"][..], "실행 중이 아닙니다"), (&["reset"], "--yes를 붙이세요"), (&["status"], "시작하려면")]
    {
        let mut command = home.command(ROPEWALK);
        command.args(words).env("ROPEWALK_LANG", "ko").env("LC_ALL", "C.UTF-8");
        let said: Said = command.output().expect("it runs").into();
        assert!(said.out.contains(part) || said.err.contains(part), "{words:?}: {said:?}");
    }
}

/// The same streams and exit codes as in English. A locale that only names a character set leaves
/// the language to LANG.
#[test]
fn help_and_argument_errors_speak_the_readers_language() {
    let home = Home::new();
    let say = |words: &[&str], lang: &str, all: &str| -> Said {
        let mut command = home.command(ROPEWALK);
        command.args(words).env("LANG", lang).env("LC_ALL", all);
        for name in ["LANGUAGE", "LC_MESSAGES", "ROPEWALK_LANG"] {
            command.env_remove(name);
        }
        command.output().expect("it runs").into()
    };
    let korean = |words: &[&str]| say(words, "ko_KR.UTF-8", "C.UTF-8");
    let english = |words: &[&str]| say(words, "en_US.UTF-8", "");
    for (said, code, out, err) in [
        (korean(&["--help"]), 0, "사용법: ropewalk [옵션]", ""),
        (korean(&["help", "lab", "grade"]), 0, "서명한 기록", ""),
        (english(&["up", "--help", "--lang", "ko"]), 0, "클러스터를 시작합니다", ""),
        (korean(&["up", "--help", "--lang", "en"]), 0, "Start a cluster", ""),
        (english(&["--lang", "ko", "help", "up"]), 0, "클러스터를 시작합니다", ""),
        (say(&["up", "--help"], "ko_KR.UTF-8", "en_US.UTF-8"), 0, "Start a cluster", ""),
        (korean(&["lab"]), 2, "", "사용법: ropewalk lab"),
        (korean(&["upp"]), 2, "", "비슷한 하위 명령: 'up'"),
        (english(&["--lang", "ko", "up", "--workers", "many"]), 2, "", "정수를 쓰세요"),
        (english(&["repl", "--lang", "ko", "--name", "../x", "-c", "ls"]), 2, "", "이름이 될 수 없습니다"),
        (english(&["drill", "check", "--lang", "ko", "--name", "../x"]), 2, "", "이름이 될 수 없습니다"),
        (english(&["upp"]), 2, "", "a similar subcommand exists: 'up'"),
    ] {
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.out.contains(out) && said.err.contains(err), "{out:?}, {err:?}: {said:?}");
        assert_eq!((said.out.is_empty(), said.err.is_empty()), (out.is_empty(), err.is_empty()), "{said:?}");
    }
    let kubectl = korean(&["kubectl", "--help"]);
    assert!(kubectl.out.contains("kubectl controls the Kubernetes cluster manager"), "{kubectl:?}");
}

#[test]
fn output_that_cannot_be_shown_or_written_is_told() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.ropewalk(&["completion", shell]).ok().contains("ropewalk"));
    }
    // A disk that is full is no reader that has left: the error is printed, with code 1.
    for words in [&["version"][..], &["--help"], &["up", "--help", "--lang", "ko"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
        let said: Said = home.command(ROPEWALK).args(words).stdout(full).output().expect("it runs").into();
        assert!(said.code == 1 && said.err.contains("os error 28"), "{words:?}: {said:?}");
    }
    // A Korean locale that is not UTF-8 gets English, not a question mark for each syllable.
    let mut command = home.command(ROPEWALK);
    let said: Said = command.arg("status").env("LC_ALL", "ko_KR.EUC-KR").output().expect("it runs").into();
    assert!(!said.out.contains('?') && !said.err.contains('?'), "{said:?}");
    // A reader that has left ends it as it ends every program.
    for words in [&["completion", "bash"][..], &["--help"], &["up", "--help", "--lang", "ko"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = home.command(ROPEWALK);
        let said: Said = command.args(words).stdout(writer).output().expect("it runs").into();
        assert_eq!((said.code, said.err.as_str()), (141, ""), "{words:?}");
    }
}

#[test]
fn a_taken_port_a_second_start_and_strange_data_are_told() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    home.ropewalk(&["up", "--name", "t", "--detach", "--api-port", &port]).fails("is taken");
    {
        let cluster = home.up(&["--workers", "0"]);
        home.ropewalk(&["up", "--name", "t", "--detach"]).fails("already running");
        let any = any_kubectl();
        let file = home.path().join("bad.yaml");
        let path = file.display().to_string();
        let apply = |text: &str| {
            std::fs::write(&file, text).expect("a file");
            cluster.kubectl(&any, &["apply", "-f", &path])
        };
        apply("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n data: {}\n").fails("line");
        apply("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndatta: {}\n")
            .fails("unknown field \"datta\"");
        apply("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: A_b\n").fails("RFC 1123");
        let big = "x".repeat(1_600_000);
        std::fs::write(&file, &big).expect("a file");
        let from = format!("--from-file=k={path}");
        let refused = cluster.kubectl(&any, &["create", "configmap", "big", &from]);
        assert_ne!(refused.code, 0);
        assert!(refused.err.contains("too large") || refused.err.contains("Too long"), "{}", refused.err);
        cluster.kubectl(&any, &["get", "nodes"]).ok();
    }
    let spec = home.path().join("clusters/t/cluster.json");
    let good = std::fs::read_to_string(&spec).expect("cluster.json");
    std::fs::write(&spec, good.replace("\"format\": 1", "\"format\": 9")).expect("a file");
    home.ropewalk(&["up", "--name", "t", "--detach"]).fails("newer ropewalk");
    std::fs::write(&spec, "nonsense").expect("a file");
    home.ropewalk(&["up", "--name", "t", "--detach"]).fails("damaged");
    std::fs::write(&spec, good).expect("a file");
    drop(home.up(&[]));
}
