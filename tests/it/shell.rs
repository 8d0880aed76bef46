//! Our shell beside dash: the same scripts, the same output and status. Wording of messages is not
//! compared.

use crate::support::{self, PATIENCE};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const DASH: &str = "/bin/dash";

/// Name, script, and its arguments after `$0`.
type Case = (&'static str, &'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    ("true", "true", &[]),
    ("loop", "i=0; while [ $i -lt 20 ]; do /bin/true || exit 1; i=$((i+1)); done; echo $i", &[]),
    (
        "heredoc",
        "x=5; cat <<EOF\na $x $(echo sub)\nEOF\ncat <<\"EOF\"\n$x\nEOF\ncat <<-EOF\n\ttab\n\tEOF",
        &[],
    ),
    ("pipe", r#"printf "b\na\n" | sort | head -1"#, &[]),
    (
        "pipevar",
        r#"echo hi | while read l; do echo "got $l"; done; echo a b | { read x y; echo "$y-$x"; }"#,
        &[],
    ),
    ("and", "true && echo y || echo n; false && echo y || echo n; ! false; echo $?", &[]),
    (
        "for",
        r#"for i in 1 2 3; do [ $i = 2 ] && continue; echo $i; done; for f in "$@"; do echo "<$f>"; done"#,
        &["a b", "c"],
    ),
    ("case", "case foo.txt in *.c) echo c;; *.txt|*.md) echo t;; *) echo o;; esac", &[]),
    ("func", r#"f() { local a=$1; echo "f:$a $#"; return 3; }; f x y; echo $?"#, &[]),
    ("sete", "set -e; echo a; false; echo b", &[]),
    ("sete2", "set -e; if false; then :; fi; false || true; (exit 3); echo no", &[]),
    ("setu", "set -u; echo $nope; echo no", &[]),
    (
        "bgwait",
        "sleep 0.1 & p=$!; wait $p; echo $?; (exit 7) & wait $!; echo $?; sh -c 'exit 9' & wait $!; echo $?",
        &[],
    ),
    ("bgfunc", "f() { sleep 0.1; echo bg; }; f & wait; echo done", &[]),
    ("bgkill", "sleep 5 & p=$!; kill $p; wait $p; echo $?", &[]),
    ("bgsubkill", "( while :; do sleep 0.1; done ) & p=$!; sleep 0.2; kill $p; wait $p; echo $?", &[]),
    ("notfound", "nosuchcmd; echo $?", &[]),
    ("notfound2", "nosuchcmd", &[]),
    ("noexec", "touch noexec; ./noexec; echo $?", &[]),
    ("sigrc", r#"sh -c "kill -9 \$\$"; echo $?"#, &[]),
    ("exit", "exit 42", &[]),
    ("exec", "exec /bin/echo replaced", &[]),
    ("execpid", r#"a=$$; exec sh -c "test \$\$ = $a && echo same""#, &[]),
    ("execredir", "exec 3>f; echo hi >&3; exec 3>&-; cat f", &[]),
    ("redir", "echo err >&2 2>/dev/null; { echo a; echo b >&2; } >o 2>&1; cat o; echo x >>o; wc -l <o", &[]),
    ("redirbad", "cat <nofile; echo $?; echo x >nodir/f; echo $?; : <nofile; echo no", &[]),
    ("subshell", "x=1; (x=2; cd /; pwd); echo $x; cd /tmp; pwd", &[]),
    ("subexit", "(exit 4); echo $?; x=$(exit 5); echo $?", &[]),
    (
        "param",
        "u=; HOME=/h; echo ${u:-d} ${nope-e} ${#HOME}; p=/a/b/c.tar.gz; echo ${p##*/} ${p%%.*} ${p%.*} ${p#*/}",
        &[],
    ),
    ("paramerr", "echo ${nope:?msg}; echo no", &[]),
    ("paramset", r#"echo ${x:=a b} "$x"; echo ${x:+"<$x>"} ${nope:+no}"#, &[]),
    ("arith", "echo $((1+2*3)) $(( (5>3) && 1 )) $((0x10)) $((7/2)) $((7%3)); i=3; echo $((i+=2)) $i", &[]),
    ("arithzero", "echo $((1/0)); echo no", &[]),
    ("trapexit", r#"trap "echo bye" EXIT; echo hi; exit 3"#, &[]),
    ("trapself", r#"trap "echo T" TERM; kill -TERM $$; echo after"#, &[]),
    ("trapusr", r#"trap "echo U" USR1; kill -USR1 $$; sleep 0.1; echo after"#, &[]),
    (
        "trapjump",
        r#"trap continue USR1; trap "echo T; exit 4" TERM; for i in 1 2; do (kill -USR1 $$; kill -TERM $$); done; echo no"#,
        &[],
    ),
    ("trapint", r#"trap "" INT; kill -INT $$; echo alive"#, &[]),
    ("trapreset", r#"trap "echo no" USR1; trap - USR1; (kill -USR1 $$); sleep 0.1; echo no"#, &[]),
    ("trapsub", r#"trap "echo no" EXIT; (echo sub); trap - EXIT"#, &[]),
    (
        "trapwait",
        // The signal comes again and again: the first one may come before `wait` waits.
        r#"trap "n=1" USR1; (while kill -USR1 $$; do sleep 0.1; done) & k=$!; sleep 60 & wait $!; echo $? $n; kill $k $!"#,
        &[],
    ),
    ("getopts", "while getopts ab: o -a -b v; do echo $o $OPTARG; done; echo $OPTIND", &[]),
    ("getopts2", r#"while getopts :a:b o "$@"; do echo "$o:$OPTARG"; done"#, &["-ax", "-c", "-b", "-a"]),
    ("readir", r#"printf "1 2\n3 4\n" > f; while IFS=" " read -r a b; do echo $b$a; done < f"#, &[]),
    ("readifs", r#"echo "a:b:c:d" | { IFS=: read x y z; echo "$x,$y,$z"; }"#, &[]),
    ("readesc", r#"printf 'a\\ b c\\\nd\n' | { read x y; echo "$x|$y"; }"#, &[]),
    ("quotes", r#"echo "a  b" 'c  d' e\ f "$(echo "x  y")""#, &[]),
    ("split", r#"x="a  b:c"; set -- $x; echo $#; IFS=:; set -- $x; echo "$#|$1|$2""#, &[]),
    ("glob", "touch g1 g2 .g3; echo g*; echo nog*; echo .g*; echo 'g*'; set -f; echo g*", &[]),
    ("globdir", "mkdir -p d/e; touch d/e/f d/x; echo d/*/f */x d/[!e]", &[]),
    ("tilde", "HOME=/h; echo ~ ~/x a~", &[]),
    ("umask", "umask 077; touch m; stat -c %a m; umask", &[]),
    ("ulimit", r#"ulimit -n 64; sh -c "ulimit -n""#, &[]),
    ("envpre", r#"X=1 sh -c "echo \$X"; echo [$X]"#, &[]),
    ("export", r#"export A=b; sh -c "echo \$A"; env | grep ^A="#, &[]),
    ("dot", r#"echo "v=7; return 4" > inc; . ./inc; echo $? $v"#, &[]),
    ("eval", r#"c="echo evald"; eval $c; eval 'x=1; echo $x'"#, &[]),
    ("printf", r#"printf "%s-%d-%x\n" a 10 255; printf "%5.2f|%-5s|\n" 3.14159 x"#, &[]),
    ("testb", r#"[ -f /etc/passwd -a -d / ] && echo y; test -z "" && echo z; [ "a" = "b" ] || echo ne"#, &[]),
    ("setpos", r#"set -- a b c; shift; echo $1 $#; echo "$*" "$@""#, &[]),
    ("at", r#"f() { echo $#; }; f "$@"; f "x$@y"; f $*; f """#, &["a b", "c"]),
    ("type", "type cd; command -v cd; command -v nosuch; echo $?", &[]),
    ("syntax", "if true; then", &[]),
    ("nested", "for i in 1 2; do for j in a b; do [ $j = b ] && break; echo $i$j; done; done", &[]),
    ("break2", "for i in 1 2; do for j in a b; do break 2; done; done; echo $i$j", &[]),
    ("until", "i=3; until [ $i -eq 0 ]; do i=$((i-1)); done; echo $i", &[]),
    ("sigpipe", "yes | head -1; echo $?", &[]),
    ("multibg", "for i in 1 2 3; do (sleep 0.1; echo $i >$i) & done; wait; cat 1 2 3; echo end", &[]),
    ("timeout", r#"timeout 0.3 sh -c "while :; do sleep 0.1; done"; echo $?"#, &[]),
    ("procenv", "cd /tmp && sh -c pwd", &[]),
    ("cdminus", "cd /; cd /tmp; cd -; pwd; cd /nosuch; echo $?", &[]),
    ("heredocpipe", "cat <<E | tr a-z A-Z\nabc\nE", &[]),
    ("heredocloop", "while read a; do echo \"<$a>\"; done <<E\none\ntwo\nE", &[]),
    ("waitnone", "wait 99999; echo $?", &[]),
    ("comments", "echo a # b\necho \"#c\"", &[]),
    ("readonly", "readonly r=1; r=2; echo no", &[]),
    ("unset", "x=1; unset x; echo ${x-gone}; f() { :; }; unset -f f; f; echo $?", &[]),
    ("backquote", r#"echo `echo a \`echo b\``"#, &[]),
    ("funcredir", "f() { echo in; } >o; f; cat o", &[]),
    ("notpipe", "! true | false; echo $?; if ! false; then echo y; fi", &[]),
    (
        "script",
        "printf '#!/bin/sh\\necho \"script $0 $1\"; exit 6\\n' > s; chmod +x s; ./s arg; echo $?",
        &[],
    ),
    (
        "preexport",
        "f() { env | grep ^FOO=; }; FOO=1 f; FOO=2 command env | grep ^FOO=; echo [$FOO]; (FOO=3 exec env) | grep ^FOO=",
        &[],
    ),
    ("preexec", r#"sh -c "FOO=1 exec env" | grep ^FOO="#, &[]),
    (
        "readnoexec",
        "echo 'echo ran >ran' > s; sh -n s; echo $?; cat ran; sh -n -c 'if'; echo $?; set -n; echo no",
        &[],
    ),
    (
        "monitor",
        r#"setsid -w sh -c 'set -m; echo "$? [$-]"; set -o monitor; echo $?; set -o | grep monitor; set +m; echo $?'
        setsid -w sh -m -c 'echo "[$-]"'; echo $?"#,
        &[],
    ),
    (
        "verbose",
        r#"printf 'echo a\nset +v\necho b\nset -v\nif true\nthen echo c\nfi\n. ./t\n' > s
        printf 'cat <<E\nin\nE\nset -o verbose; echo d\n' >> s; echo 'echo sourced' > t
        for how in "sh -v s" "sh s" "sh -v -c :"; do echo "$how:"; $how 2>&1; done; sh < s 2>&1"#,
        &[],
    ),
    ("badflag", "sh -Z; echo $?; (set -Z; echo no); echo $?", &[]),
    ("dash", "echo 'echo from stdin $#' | sh -; echo 'echo with $1' | sh -s - a", &[]),
    (
        "printbytes",
        r"printf '\342\234\223\n'; printf '%b\n' '\0342\0234\0223'; printf '\377' | od -An -tx1",
        &[],
    ),
    ("octal", "x=010; echo $((x)) $(($x)) $((x+1))", &[]),
    (
        "atdefault",
        r#"for x in "${@:-none}"; do echo "<$x>"; done; set --; for x in "${@:-none}"; do echo "<$x>"; done"#,
        &["a b", "c"],
    ),
    ("nobang", "echo 'echo plain $1' > s; chmod +x s; ./s arg; echo $?", &[]),
    ("sumdata", "x='$(touch p; echo 5)'; (echo $((x))); echo $?; n='1+1'; (echo $((n+1))); ls", &[]),
    ("sumvalue", "x=' 7 '; y=0x10; z=-3; echo $((x+y+z)) $((nope))", &[]),
    (
        "promptname",
        "mkdir 'a$(touch p)b'; printf 'cd a*\\n:\\n' | sh -i >/dev/null 2>&1; find . -name p",
        &[],
    ),
    ("exportlater", "export A; A=1; env | grep ^A=; x=1; set -a; x=2; env | grep ^x=", &[]),
    ("readonlylater", "readonly A; (A=1; echo no); echo $?; export B; env | grep ^B; echo ${B-unset}", &[]),
    ("innerquotes", r#"echo "${x:-'a b'}" "${x:-a\}b}"; printf "${F:-%s\n}" x; echo "${x:=q 'w'}""#, &[]),
    ("arrays", "(echo ${a[0]}; echo no); echo $?; (echo ${a[@]}); echo $?; (echo ${!x}); echo $?", &[]),
    (
        "dotted",
        "(echo ${a.b}; echo no); echo $?; true & [ ${!} = $! ] && echo \"same ${!}\" | tr -d 0-9",
        &[],
    ),
    ("seteloop", "set -e; while read l; do :; done < /missing; echo after", &[]),
    ("seteloopor", "set -e; { :; } < /missing || echo or; if { :; } < /missing; then :; fi; echo on", &[]),
    ("trapexitcode", "trap 'false; exit' EXIT; exit 3", &[]),
    ("trapexitown", "trap 'exit 4' EXIT; exit 3", &[]),
    ("setuname", r#"set -u; echo hi > "$UNSET"; echo after"#, &[]),
    ("setunameprogram", r#"set -u; ls > "${UNSET:?no}"; echo after"#, &[]),
    ("runsbefore", "echo a\n)\necho no", &[]),
    ("runsbefore2", "echo a\ncat <<E\ntext\nE\nif true; then\n", &[]),
    ("herejoined", "cat <<E\na\\\nb \\\\\nc\nE\ncat <<'E'\na\\\nb\nE", &[]),
    ("funcredir", r#"f() { echo hi; } > "$1"; set -- outer; f inner; ls"#, &[]),
    ("subsubtrap", "(trap 'echo A' EXIT; (trap - EXIT)); (trap 'echo B' EXIT; (echo in))", &[]),
    (
        "tilde",
        "HOME=/h; P=/a:~/bin; echo $P; export A=~/x; echo $A; f() { local b=~/y:~; echo $b; }; f; echo a:~/x",
        &[],
    ),
    ("nopath", "unset PATH; echo x > ls; ls; echo $?", &[]),
    ("nopwd", "cd /usr; unset PWD; cd bin; echo $PWD", &[]),
    ("brackets", "[ a = a ] && echo yes; echo [ [a; touch ab; echo [a]b", &[]),
    ("backquotes", r#"HOME=/h; echo `echo \\$HOME` `echo \$HOME` `echo "\\\\"`"#, &[]),
    ("commandspecial", "command exec 3>f; echo hi >&3; cat f; command . ./missing || echo or", &[]),
    ("umaskletters", "umask 077; umask u=rwx,g=rx,o=; umask", &[]),
];

/// A directory with our `sh`, first on the path of the scripts.
fn ours(directory: &Path) -> PathBuf {
    let path = directory.join("sh");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ropewalk"), &path).unwrap();
    path
}

/// Waits, but no longer than a stuck shell deserves.
fn finish(mut child: std::process::Child) -> (ExitStatus, String) {
    let until = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > until => {
                child.kill().unwrap();
                panic!("the shell did not end");
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    (status, output)
}

fn command(shell: &Path) -> Command {
    let directory = shell.parent().unwrap().display();
    let mut command = Command::new(shell);
    command.env("PATH", format!("{directory}:/usr/bin:/bin")).env_remove("ENV");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn run(shell: &Path, case: &Case) -> (Option<i32>, String) {
    let work = tempfile::tempdir().unwrap();
    let (_, script, args) = case;
    let child = command(shell).args(["-c", script, "zero"]).args(*args).current_dir(&work).spawn().unwrap();
    let (status, output) = finish(child);
    (status.code(), output)
}

#[test]
fn our_shell_does_what_dash_does() {
    if !Path::new(DASH).exists() {
        return support::skip("there is no dash to compare with");
    }
    let bin = tempfile::tempdir().unwrap();
    let shell = ours(bin.path());
    let wrong: Vec<String> = CASES
        .iter()
        .filter_map(|case| {
            let (want, got) = (run(Path::new(DASH), case), run(&shell, case));
            (want != got).then(|| format!("{}: dash {want:?}, ours {got:?}", case.0))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What dash lacks or says otherwise.
#[test]
fn our_shell_has_pipefail_and_names_what_it_lacks() {
    let bin = tempfile::tempdir().unwrap();
    let shell = ours(bin.path());
    for (script, want) in [
        ("set -o pipefail; false | true; echo $?", (Some(0), "1\n")),
        ("set -o pipefail; true | true; echo $?", (Some(0), "0\n")),
        ("x='a b'; if [[ $x == a* && ! -e /nowhere ]]; then echo yes; fi", (Some(0), "yes\n")),
        ("[[ a* == 'a*' && ab != 'a*' ]]; echo $?; [[ -r /etc/nothing ]]; echo $?", (Some(0), "0\n1\n")),
        ("[[ -n '' || ( 2 -gt 1 && b > a ) ]]; echo $?; [[ x -eq 1 ]]; echo $?", (Some(0), "0\n2\n")),
        ("[[ -z x && $(echo no >&2; echo a) ]] 2>&1; echo $?; [[ a =~ a ]]; echo $?", (Some(0), "1\n2\n")),
        ("set -e; [[ a == b ]] || echo on; [[ a == b ]]; echo no", (Some(1), "on\n")),
        ("a=(1 2); echo no", (Some(2), "")),
        ("fg; echo $?", (Some(0), "2\n")),
        // dash has no jobs outside of a conversation; busybox has them.
        ("sleep 5 & sleep 6 & kill %1; wait %1; echo $?; kill %2; wait %2; echo $?", (Some(0), "143\n143\n")),
        ("set -- a b; echo ${#@} ${#*}", (Some(0), "2 2\n")),
        ("x=abcabc; echo ${x:1:2} ${x: -2} ${x:2} ${x:9}", (Some(0), "bc bc cabc\n")),
        (
            "x=abcabc; echo ${x/b/-} ${x//b/-} ${x/#a/-} ${x/%c/-} ${x//b*}",
            (Some(0), "a-cabc a-ca-c -bcabc abcab- a\n"),
        ),
        ("echo abcdef | { read -rn3 x; echo $x; read -r y; echo $y; }", (Some(0), "abc\ndef\n")),
        ("printf 'a:b' | { read -d: x; echo $x; }", (Some(0), "a\n")),
        ("sleep 5 | { read -t 0.1 x; echo $?; }; echo {1..3}", (Some(0), "1\n{1..3}\n")),
    ] {
        let (code, output) = run(&shell, &("", script, &[]));
        assert_eq!((code, output.as_str()), want, "{script}");
    }
}

#[test]
fn commands_on_standard_input_share_it_with_what_they_start() {
    let bin = tempfile::tempdir().unwrap();
    let mut child = command(&ours(bin.path())).stdin(Stdio::piped()).spawn().unwrap();
    let text = "echo one\nread x\ndata\necho \"x=$x\"\ncat\nall of this\n";
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let (status, output) = finish(child);
    assert_eq!((status.code(), output.as_str()), (Some(0), "one\nx=data\nall of this\n"));
}

#[test]
fn a_long_here_document_on_standard_input_takes_no_time_of_its_square() {
    let bin = tempfile::tempdir().unwrap();
    let mut child = command(&ours(bin.path())).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = (0..20_000).map(|n| format!("line {n} of a long document\n")).collect();
    let writing = std::thread::spawn(move || {
        let _ = stdin.write_all(format!("cat <<END | tail -1\n{lines}END\necho after\n").as_bytes());
    });
    let (status, output) = finish(child); // with the square of it this takes a quarter of an hour
    writing.join().unwrap();
    assert_eq!((status.code(), output.as_str()), (Some(0), "line 19999 of a long document\nafter\n"));
}

/// Starts a script, waits for its first line, sends TERM. Its standard input ends after the script.
fn terminate(script: &str) -> (ExitStatus, String) {
    let bin = tempfile::tempdir().unwrap();
    let mut child = command(&ours(bin.path())).args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
    let held = child.stdin.take();
    let mut first = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    let ended = finish(child);
    drop(held);
    ended
}

#[test]
fn term_runs_the_trap_or_ends_the_shell() {
    let (status, output) = terminate(r#"trap "echo got; exit 5" TERM; echo; while :; do sleep 0.1; done"#);
    assert_eq!((status.code(), output.as_str()), (Some(5), "got\n"));
    let (status, output) =
        terminate(r#"trap 'kill $p; echo got; exit 6' TERM; sleep 30 & p=$!; echo; wait $p"#);
    assert_eq!((status.code(), output.as_str()), (Some(6), "got\n"));
    let (status, _) = terminate("echo; cat >/dev/null; echo no");
    assert_eq!(status.signal(), Some(15));
    // The last command replaced the shell, so the signal met it.
    let (status, _) = terminate("echo; exec sleep 30");
    assert_eq!(status.signal(), Some(15));
}

#[test]
fn pid_1_collects_orphans() {
    let bin = tempfile::tempdir().unwrap();
    let shell = ours(bin.path());
    // A zombie that nobody collects keeps its directory.
    let script = r#"echo $$; orphan=$(sh -c 'sleep 0.1 >/dev/null & echo $!')
        while [ -e /proc/$orphan ]; do sleep 0.02; done; exit 5"#;
    let path = format!("{}:/usr/bin:/bin", bin.path().display());
    let child = Command::new("unshare")
        .args(["-Urfp", "--mount-proc", "--kill-child"])
        .arg(&shell)
        .args(["-c", script])
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = child else { return support::skip("there is no unshare(1)") };
    let (status, output) = finish(child);
    if output.is_empty() {
        return support::skip("this machine gives no PID namespace");
    }
    assert_eq!((status.code(), output.as_str()), (Some(5), "1\n"));
}

#[test]
fn a_trap_runs_while_a_fifo_waits_for_its_other_end() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // A signal before the shell opens the FIFO would run the trap in any case; so it comes again
    // and again, until it has met the open.
    let script = format!(
        "trap 'n=$((n+1)); [ $n -lt 4 ] || exit 7' TERM; n=0; \
         (while kill -TERM $$; do sleep 0.1; done) & echo .; read x < {}",
        fifo.display()
    );
    let child = command(&ours(dir.path())).args(["-c", &script]).spawn().unwrap();
    assert_eq!(finish(child).0.code(), Some(7));
}

/// A terminal with our shell on it.
struct Conversation {
    heard: std::sync::mpsc::Receiver<Vec<u8>>,
    writer: Box<dyn Write + Send>,
    text: String,
}

impl Conversation {
    /// Types, and waits until the answer ends so.
    fn say(&mut self, typed: &str, end: &str) -> String {
        self.writer.write_all(typed.as_bytes()).unwrap();
        let until = Instant::now() + PATIENCE;
        while !self.text.ends_with(end) {
            let left = until.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes).replace('\r', "")),
                Err(e) => panic!("{e}: waited for {end:?} after {typed:?}, heard {:?}", self.text),
            }
        }
        std::mem::take(&mut self.text)
    }
}

#[test]
fn control_c_ends_the_line_and_not_the_shell() {
    let bin = tempfile::tempdir().unwrap();
    let pty = portable_pty::native_pty_system().openpty(portable_pty::PtySize::default()).unwrap();
    let mut command = portable_pty::CommandBuilder::new(ours(bin.path()));
    command.cwd("/");
    command.env("HOME", "/root");
    command.env_remove("PS1");
    let mut child = pty.slave.spawn_command(command).unwrap();
    let mut reader = pty.master.try_clone_reader().unwrap();
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut shell = Conversation { heard, writer: pty.master.take_writer().unwrap(), text: String::new() };
    let prompt = if nix::unistd::geteuid().is_root() { "/ # " } else { "/ $ " };
    assert_eq!(shell.say("", prompt), prompt);
    assert!(shell.say("echo hi\n", prompt).ends_with(&format!("\nhi\n{prompt}")));
    // Both the command and the loop around it end.
    // The word comes from the process that has the terminal when it says it.
    shell.say("while true; do sh -c 'echo up; exec sleep 30'; done\n", "\nup\n");
    shell.say("\x03", prompt);
    assert!(shell.say("echo $?\n", prompt).contains("\n130\n"));
    shell.say("echo go; while :; do :; done; echo never\n", "\ngo\n");
    shell.say("\x03", prompt);
    assert!(shell.say("echo $?\n", prompt).contains("\n130\n"));
    // A line that is not finished asks for more; one with an error does not end the shell.
    shell.say("for i in 1 2\n", "> ");
    assert!(shell.say("do echo $i; done\n", prompt).ends_with(&format!("\n1\n2\n{prompt}")));
    assert!(shell.say("echo ${x?bad}\n", prompt).contains("x: bad\n"));
    shell.say("exit 3\n", "exit 3\n");
    assert_eq!(child.wait().unwrap().exit_code(), 3);
}
