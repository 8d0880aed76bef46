//! What reads programs, regular expressions and formats, given nonsense: it may refuse it, and
//! neither panic nor overflow its stack nor take long. No program is run: it could call commands.

use super::parse::parse;
use super::regex::Regex;
use super::run::format::format;
use super::run::value::Value;
use super::stack::Stack;
use rng::fuzz::{Target, all};

/// The thread of [`all`] has a small stack of which the engine uses some, so a program is read on
/// one of its own.
const STACK: usize = 8 << 20;

fn program(input: &[u8]) -> bool {
    let input = input.to_vec();
    let thread = std::thread::Builder::new().stack_size(STACK);
    let reads = thread.spawn(move || parse(&input, Stack::of_thread(STACK)).is_ok()).expect("a thread");
    reads.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn regex(input: &[u8]) -> bool {
    let input = input.to_vec();
    let thread = std::thread::Builder::new().stack_size(STACK);
    let reads = thread.spawn(move || match Regex::new(&input) {
        Ok(regex) => {
            for text in [&b""[..], b"a", b"abc aab b\n"] {
                let found = regex.find(text, 0);
                assert_eq!(found.is_some(), regex.is_match(text), "what matches is found");
                assert!(found.is_none_or(|(start, end)| start <= end && end <= text.len()));
            }
            true
        }
        Err(_) => false,
    });
    reads.expect("a thread").join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn formats(input: &[u8]) -> bool {
    let values = [Value::input(b"12"), Value::Number(3.5), Value::text(b"ab"), Value::Number(-1e18)];
    format(input, &values, b"%.6g").is_ok()
}

const WORDS: &[&str] = &[
    "BEGIN{",
    "function f(a, b) {",
    "}",
    "if (",
    ") ; else ",
    "while (",
    "for (k in a) ",
    "for (;;) ",
    "do ",
    "getline ",
    "getline < ",
    " | getline ",
    "++ ",
    "-- ",
    "$",
    "- ",
    "! ",
    " in a",
    " ~ /",
    "/",
    "print ",
    "printf(\"%s\", ",
    "> \"f\"",
    "(1, 2)",
    "[",
    "]",
    "x = ",
    "? 1 : ",
    "2 ^ ",
    "\"",
    "\\",
    "\n",
    "# c",
    "delete a",
    "f(",
];

const PIECES: &[&str] = &[
    "(",
    ")",
    "|",
    "*",
    "+",
    "?",
    "??",
    "{2,3}",
    "{0,1}",
    "{3}",
    "{1,}",
    "{",
    "[",
    "[^",
    "]",
    "[[:alpha:]]",
    "[[.",
    "[.-.]",
    "[=a=]",
    "a-z",
    "^",
    "$",
    ".",
    "\\",
    "\\.",
    "a",
];

const CONVERSIONS: &[&str] =
    &["%", "d", "c", "s", "*", "-", "0", "#", "+", ".", "%5.3d", "%*s", "%c", "%g", "%x", "99999"];

#[test]
fn nonsense_is_refused_in_time() {
    const PROGRAMS: [&str; 4] = [
        "BEGIN { FS = \",\"; while ((getline line < \"f\") > 0) n[line]++ } END { for (k in n) print k, n[k] }",
        "function f(a, i) { if (i > 1) return f(a, i - 1); else if (!i) a[i] = -i^2; else delete a[i] }\n\
         /a(b|c)*[^d]/, $2 ~ \"x\" { f(m, $NF++); print m[1, 2] > \"o\"; next }",
        "{ x = y ? $1 \" \" ++z : (1, 2) in a; printf(\"%d\\n\", x) | \"cat\"; gsub(/[/]/, \"&\") }",
        "BEGIN { do { \"date\" | getline d; if (d) break; else { exit 1 } } while (1 in a == 0) }\n",
    ];
    const EXPRESSIONS: [&str; 5] =
        ["^(a|b)*c{2,3}$", "[[:alpha:]_][^]a-z]+", "a+?b{1,}(()|x)", "\\.\\/[[.-.]=]", "((a?)*b)+"];
    const FORMATS: [&str; 3] = ["%d %5.3f|%-4s %c%%", "%*d %.*s", "%+#o %08x"];
    all(
        "applets::awk::fuzz::nonsense_is_refused_in_time",
        vec![
            Target::text("awk-program", &PROGRAMS, WORDS, program),
            Target::text("awk-regex", &EXPRESSIONS, PIECES, regex),
            Target::text("awk-format", &FORMATS, CONVERSIONS, formats),
        ],
    );
}
