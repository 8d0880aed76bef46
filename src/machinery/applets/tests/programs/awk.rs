//! awk, and what mawk does where it is installed.

use crate::{Room, outcome};
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
    // The program stops at such a file: sums over the others would look right in END.
    (&["{print} END{print \"end\"}", "-", "/nonexistent", "-"], b"a\n", b"a\n", 2),
    (&["{print} END{print \"end\"}", "/nonexistent", "-"], b"a\n", b"", 2),
    // A record that was read may be a number; one that was assigned or joined has its own type.
    (&["{sub(/3/, \"10\"); if ($0 > 9) print \"num\"; else print \"str\"}"], b"3\n", b"str\n", 0),
    (&["{$0 = $1 \"\"; print ($0 < 9)}"], b"10\n", b"1\n", 0),
    (&["{$0 = $1 + 0; print ($0 < 9)}"], b"10\n", b"0\n", 0),
    (&["{$2 = \"\"; print ($0 ? \"t\" : \"f\")}"], b"0\n", b"t\n", 0),
    (&["{print ($0 ? \"t\" : \"f\"), ($0 < 9)}"], b"0\n10\n", b"f 1\nt 0\n", 0),
    // Subscripts are strings.
    (&["BEGIN{a[0]; for (k in a) print k ? \"t\" : \"f\"}"], b"", b"t\n", 0),
    (&["BEGIN{a[\"9\"]; a[\"10\"]; for (k in a) if (m == \"\" || k > m) m = k; print m}"], b"", b"9\n", 0),
    // A record is joined with the OFS of the time when a field changed.
    (&["{$1 = $1; OFS = \"-\"; print; $1 = $1; print}"], b"a b c\n", b"a b c\na-b-c\n", 0),
    (&["{$5 = \"\"; OFS = \"|\"; print}"], b"a b c\n", b"a b c  \n", 0),
    (&["{$1 = $1; OFS = \":\"; $0 = $0; print NF}"], b"a b c\n", b"3\n", 0),
    (&["{NF = 2; OFS = \"-\"; print}"], b"a b c\n", b"a b\n", 0),
    (&["BEGIN{printf \"%c%c\", x, \"\"}"], b"", b"\0\0", 0),
    (
        &["BEGIN{printf \"%05s|%-05s|%05c|%05d|\", \"ab\", \"ab\", \"x\", 7}"],
        b"",
        b"   ab|ab   |    x|00007|",
        0,
    ),
    (&["BEGIN{RS = \"b+\"} {print}"], b"abbbcb", b"a\nc\n", 0),
    (&["BEGIN{print \"a\" > \"/nonexistent/x\"}"], b"", b"", 2),
    (&["-f", "/nonexistent"], b"", b"", 2),
];

/// Expressions and their values as strings, which mawk gives too.
const EXPRESSIONS: &[(&str, &str)] = &[
    ("-2^2", "-4"),
    ("2^3^2", "512"),
    ("2^-1", "0.5"),
    ("1 \" \" -1", "1-1"), // as in gawk and mawk: `-` subtracts
    ("1 - -1", "2"),
    ("!x + 1", "2"),
    ("$1 = \"x\"", "x"),
    ("($3 = 1) NF", "13"),
    ("a = \"b\" ~ \"b\"", "1"),
    ("\"10\" < \"9\"", "1"),
    ("10 < 9", "0"),
    ("(x == 0) (x == \"\")", "11"),
    ("substr(\"hello\", 0, 2)", "he"),
    ("substr(\"hello\", 0, 1)", "h"),
    ("substr(\"hello\", -5, 7)", "hello"),
    ("substr(\"hello\", 1.5)", "hello"),
    ("substr(\"hello\", 1, 1.5)", "h"),
    ("substr(\"hello\", 2.5, 1.9)", "e"),
    ("substr(\"hello\", 2, 1e30)", "ello"),
    ("substr(\"hello\", 2, -1)", ""),
    ("substr(\"hello\", 6)", ""),
    ("substr(\"a\\\\.b\", 2, 1) \"\\.\"", "\\\\."),
    ("length \"x\"", "0x"),
    ("index(\"foobar\", \"bar\")", "4"),
    ("index(\"abc\", \"\")", "1"),
    ("match(\"xfoobar\", /foo|foobar/) RLENGTH", "26"),
    ("match(\"\", /$^/)", "1"),
    ("match(\"b.\", /[[.]/)", "2"),
    ("match(\"{1,x}\", /{1,x}/)", "1"),
    ("split(\"a1b22c\", p, /[0-9]+/) p[3]", "3c"),
    ("gsub(/x*/, \"-\", s)", "1"),
    ("(t = \"abxc\") gsub(/x*/, \"-\", t) t", "abxc4-a-b-c-"),
    ("(t = \"aa\") gsub(/a/, \"[&\\\\&]\", t) t", "aa2[a&][a&]"),
    ("((1, 2) in m) + (m[1, 2] = 1) ((1, 2) in m)", "11"),
    ("1 in m == 0", "1"),
    ("1 in m ~ 0", "1"),
    ("1 + 1 in m == 0", "1"),
    ("(m[7] = 1) (7 in m != 0 && 1)", "11"),
    ("1 in m != 2 in m", "0"),
    ("1 ? 2 : z = 3", "2"),
    ("1e300 * 1e300", "inf"),
    ("0.1 + 0.2", "0.3"),
    ("id(id(3)) id()", "3"),
    ("id(++x) x++ x --x", "1121"),
    ("sprintf(\"%s|%3d|%-3s|%c\", \"a\", 7, \"b\", 65)", "a|  7|b  |A"),
    ("length(sprintf(\"%c%c\", x, \"\"))", "2"),
    ("toupper(\"aé\") == \"Aé\"", "1"),
    ("\"aa\" ~ /^a++$/", "1"),
    ("\"\" ~ /^(a+)?$/", "1"),
    ("\"a\" ~ /((((((((((((((a+)+)+)+)+)+)+)+)+)+)+)+)+)+)+/", "1"),
    ("(default = 1) (case = 2) switch", "12"),
];

/// The same where mawk 1.3.4 does something else, and why that is so.
const UNLIKE_MAWK: &[(&str, &str)] = &[
    ("1 + a = 2", "3"),                          // no other awk reads it
    ("100000 * 100000", "10000000000"),          // mawk prints integers of 32 bits only
    ("substr(\"hello\", -1, 3)", "hel"),         // mawk counts one byte more below 0; gawk and bwk do not
    ("substr(\"hello\", -1e30, 1e31)", "hello"), // as gawk
    ("\"baaac\" ~ /^b(a{2,}|x)+c$/", "1"),       // this mawk knows no braces
    ("match(\"x-=\", /[[.-.]]/)", "2"),          // as gawk and bwk; POSIX has collating symbols
    ("match(\"ba\", /[[=a=]]/)", "2"),
];

/// Returns what a program prints, and its status.
pub(crate) fn run(mut command: Command, args: &[&str], input: &[u8]) -> (String, Option<i32>) {
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input); // a program need not read it
    let output = child.wait_with_output().unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

/// Returns mawk, where it is installed.
fn mawk(room: &Room) -> Option<Command> {
    std::path::Path::new("/usr/bin/mawk").exists().then(|| {
        let mut command = Command::new("/usr/bin/mawk");
        command.current_dir(&room.work).env("LC_ALL", "C");
        command
    })
}

pub(crate) fn awk_does_what_mawk_does(room: &Room) {
    for (args, input, out, code) in CASES {
        let wanted = (String::from_utf8_lossy(out).into_owned(), Some(*code));
        let mut command = room.program("awk");
        // `sort` and `printf` are the machine's, and `sh` is the room's.
        let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
        let path = format!("{}:/usr/bin:/bin", path.unwrap_or_default().to_string_lossy());
        command.env("PATH", path);
        assert_eq!(run(command, args, input), wanted, "{args:?}");
        if let Some(command) = mawk(room) {
            assert_eq!(run(command, args, input), wanted, "mawk {args:?}");
        }
    }
}

pub(crate) fn awk_expressions_have_their_values(room: &Room) {
    let program = |expression: &str| {
        format!("function id(x) {{ return x }} BEGIN {{ result = ({expression}) \"\"; print result }}")
    };
    for (expression, value) in EXPRESSIONS.iter().chain(UNLIKE_MAWK) {
        let wanted = (format!("{value}\n"), Some(0));
        assert_eq!(run(room.program("awk"), &[&program(expression)], b""), wanted, "{expression}");
    }
    for (expression, value) in EXPRESSIONS {
        let Some(command) = mawk(room) else { return };
        let wanted = (format!("{value}\n"), Some(0));
        assert_eq!(run(command, &[&program(expression)], b""), wanted, "mawk {expression}");
    }
}

/// A stack that overflows ends the process by a signal and without a message.
pub(crate) fn awk_ends_with_a_message_when_something_is_too_deep(room: &Room) {
    let recursion = "function f(n) {return substr(sprintf(\"%s\", f(n + 1)), 1)} BEGIN {f(0)}";
    let file = room.work.join("deep.awk");
    let marks = "?".repeat(300_000);
    for (program, input, wanted) in [
        (format!("BEGIN {{ {}x }}", "++ ".repeat(400_000)), "", "nested too deeply"),
        (format!("BEGIN {{ x = {}\"x\" }}", "getline < ".repeat(400_000)), "", "nested too deeply"),
        (recursion.to_string(), "", "function f is nested too deeply"),
        ("{ print \"a\" ~ $0 }".to_string(), marks.as_str(), ""),
    ] {
        std::fs::write(&file, program).unwrap();
        std::fs::write(room.work.join("deep.txt"), format!("a{input}\n")).unwrap();
        let answer = outcome(room.program("awk").args(["-f", "deep.awk", "deep.txt"]));
        let code = if wanted.is_empty() { 0 } else { 2 };
        assert!(answer.code == code && answer.err.contains(wanted), "{} {}", answer.code, answer.err);
    }
}

/// An output is a name and a direction: a command and a file of one name are two.
pub(crate) fn awk_tells_a_file_from_a_command_of_its_name(room: &Room) {
    let script = "BEGIN{printf \"x\" | \"cat\"; printf \"y\" > \"cat\"}";
    let answer = outcome(room.program("awk").arg(script));
    assert_eq!((answer.out.as_str(), answer.code), ("x", 0), "{}", answer.err);
    assert_eq!(std::fs::read_to_string(room.work.join("cat")).unwrap(), "y");
    let script =
        "BEGIN{printf \"a\" | \"cat\"; printf \"b\" > \"cat\"; print close(\"cat\"), close(\"cat\")}";
    let answer = outcome(room.program("awk").arg(script));
    assert_eq!(answer.out, "a0 -1\n", "{}", answer.err);
}

/// A pipe gives a record of some megabytes in many small reads. To search the record again at each
/// of them would take minutes.
pub(crate) fn awk_reads_a_long_record_from_a_pipe(room: &Room) {
    for separator in ["xy", "[xy]+", "x*y"] {
        let script = format!("BEGIN{{RS=\"{separator}\"}} {{print length, NR}}");
        let input = format!("{}xyend", "a".repeat(4_000_000));
        assert_eq!(
            run(room.program("awk"), &[&script], input.as_bytes()).0,
            "4000000 1\n3 2\n",
            "{separator}"
        );
    }
}

/// The conformance test "a container that exits" counts its restarts in this way.
pub(crate) fn awk_waits_for_its_commands(room: &Room) {
    let script = "f=n; count=$(echo hello >> $f; wc -l $f | awk {'print $1'}); echo $count; \
         awk 'BEGIN { print \"late\" | \"sleep 0.2; cat\" }'; echo end; \
         awk 'BEGIN { while (1) print \"y\" }' | head -n 1";
    let answer = outcome(room.program("sh").args(["-c", script]));
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
        let answer = outcome(room.program("awk").args(args));
        let warned: String = names.iter().copied().map(warning).collect();
        assert_eq!((answer.out.as_str(), answer.err, answer.code), (out, warned, 0), "{args:?}");
    }
}
