//! awk, and what mawk does where it is installed.

use crate::{Room, told};
use std::io::Write;
use std::process::{Command, Stdio};

/// The arguments, standard input, the wanted output and the wanted status.
type Case = (&'static [&'static str], &'static [u8], &'static [u8], i32);

const CASES: &[Case] = &[
    (&["{print $1, NF, NR}"], b"a b\n\n c\n", b"a 2 1\n 0 2\nc 1 3\n", 0),
    (&["-F,", "-v", "OFS=;", "{$1=$1} 1"], b"a,,c\n", b"a;;c\n", 0),
    (&["-F\\t", "{print $2}"], b"a b\tc\n", b"c\n", 0),
    (&["{s+=$2} END{print s, s/NR}"], b"a 1\nb 4\n", b"5 2.5\n", 0),
    (&["/b/,/c/"], b"a\nb\nx\nc\nd\n", b"b\nx\nc\n", 0),
    (&["{n[$1]++} END{for (k in n) print k, n[k] | \"sort\"}"], b"x\ny\nx\n", b"x 2\ny 1\n", 0),
    (&["BEGIN{exit 3} END{print \"end\"}"], b"", b"end\n", 3),
    (&["{exit 4} END{print NR}"], b"a\nb\n", b"1\n", 4),
    (&["BEGIN{printf \"a\"; r = system(\"printf b; exit 3\"); print r}"], b"", b"ab3\n", 0),
    (&["BEGIN{print \"b\\na\" | \"sort\"; close(\"sort\"); print \"end\"}"], b"", b"a\nb\nend\n", 0),
    (&["BEGIN{while (\"echo x\" | getline l > 0) print l}"], b"", b"x\n", 0),
    (
        &["NR==1{getline; print \"after\", $0} NR==3{getline v; print v, $0, NR}"],
        b"a\nb\nc\nd\n",
        b"after b\nd c 4\n",
        0,
    ),
    (
        &["BEGIN{print \"q\" > \"o\" \".txt\"; close(\"o.txt\"); getline l < \"o.txt\"; print l}"],
        b"",
        b"q\n",
        0,
    ),
    (&["BEGIN{print (getline l < \"/nonexistent\")}"], b"", b"-1\n", 0),
    (
        &["BEGIN{RS=\"\"} {print NR \":\" $1 \"|\" $NF \"|\" NF}"],
        b"\na b\nc\n\n\nd\n",
        b"1:a|c|3\n2:d|d|1\n",
        0,
    ),
    (&["BEGIN{RS=\"[0-9]+\"} {printf \"%s;\", $1}"], b"a1b22c\n", b"a;b;c;", 0),
    (&["{print v, FILENAME, FNR}", "v=a\\tb", "-", "v=2"], b"l\n", b"a\tb - 1\n", 0),
    (&["{gsub(/[a-z]/, \"<&>\")} 1"], b"a\xff\x80b\n", b"<a>\xff\x80<b>\n", 0),
    (&["{print ($1 == 1), ($1 == \"1\")}"], b"1.0\n1\n", b"1 0\n1 1\n", 0),
    (&["{NF = 2; $4 = \"x\"; print; print NF}"], b"a b c\n", b"a b  x\n4\n", 0),
    (&["function g(x){x[1]=5} function f(x){g(x)} BEGIN{f(a); print a[1]}"], b"", b"5\n", 0),
    (&["BEGIN{print (}"], b"", b"", 2),
    (&["BEGIN{f()}"], b"", b"", 2),
    (&["{print}", "/nonexistent"], b"", b"", 2),
    (&["BEGIN{print \"a\" > \"/nonexistent/x\"}"], b"", b"", 2),
    (&["-f", "/nonexistent"], b"", b"", 2),
];

pub(crate) fn awk_does_what_mawk_does(room: &Room) {
    let run = |mut command: Command, case: &Case| {
        command.args(case.0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(case.1); // a program need not read it
        let output = child.wait_with_output().unwrap();
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
    };
    for case in CASES {
        let wanted = (String::from_utf8_lossy(case.2).into_owned(), Some(case.3));
        let mut command = room.program("awk");
        // `sort` and `printf` are the machine's, and `sh` is the room's.
        let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
        let path = format!("{}:/usr/bin:/bin", path.unwrap_or_default().to_string_lossy());
        command.env("PATH", path);
        assert_eq!(run(command, case), wanted, "{:?}", case.0);
        if std::path::Path::new("/usr/bin/mawk").exists() {
            let mut command = Command::new("/usr/bin/mawk");
            command.current_dir(&room.work);
            assert_eq!(run(command, case), wanted, "mawk {:?}", case.0);
        }
    }
}

/// The conformance test "a container that exits" counts its restarts in this way.
pub(crate) fn awk_waits_for_its_commands(room: &Room) {
    let script = "f=n; count=$(echo hello >> $f; wc -l $f | awk {'print $1'}); echo $count; \
         awk 'BEGIN { print \"late\" | \"sleep 0.2; cat\" }'; echo end; \
         awk 'BEGIN { while (1) print \"y\" }' | head -n 1";
    let answer = told(room.program("sh").args(["-c", script]));
    assert_eq!((answer.out.as_str(), answer.code), ("1\nlate\nend\ny\n", 0), "{}", answer.err);
}

/// A program that counts on them would read something else without a word.
pub(crate) fn awk_warns_once_of_what_only_gawk_heeds(room: &Room) {
    let warning = |name: &str| format!("awk: warning: {name} has no effect here (only gawk knows it)\n");
    let cases: [(&[&str], &str, &[&str]); 6] = [
        (&["BEGIN{FPAT = \"a\"; FPAT = \"b\"; print FPAT}"], "b\n", &["FPAT"]),
        (&["-v", "FPAT=[^,]*", "BEGIN{print 1}"], "1\n", &["FPAT"]),
        (&["END{print IGNORECASE}", "IGNORECASE=1", "/dev/null"], "1\n", &["IGNORECASE"]),
        (
            &["-v", "IGNORECASE=1", "BEGIN{FIELDWIDTHS = \"1 2\"; IGNORECASE++; print IGNORECASE}"],
            "2\n",
            &["IGNORECASE", "FIELDWIDTHS"],
        ),
        // What is only read, an array, a parameter, and what changes nothing without gawk.
        (&["function f(FPAT) {FPAT = 1; return FPAT} BEGIN{print f() IGNORECASE}"], "1\n", &[]),
        (&["BEGIN{FIELDWIDTHS[1] = 2; RT = \"x\"; BINMODE = 1; PROCINFO[\"a\"]; print RT}"], "x\n", &[]),
    ];
    for (args, out, names) in cases {
        let answer = told(room.program("awk").args(args));
        let warned: String = names.iter().copied().map(warning).collect();
        assert_eq!((answer.out.as_str(), answer.err, answer.code), (out, warned, 0), "{args:?}");
    }
}
