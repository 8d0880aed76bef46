//! What the shell's parser reads, given nonsense: it may refuse it, and neither panic nor think for
//! long.

use super::{assembly, depth, parse};
use rng::fuzz::{Target, all};

/// Returns the stack of a thread of [`all`].
fn stack() -> depth::Stack {
    depth::Stack::of_thread(2 << 20)
}

fn program(input: &[u8]) -> bool {
    parse::parse_program(&String::from_utf8_lossy(input), stack()).is_ok()
}

fn lines(input: &[u8]) -> bool {
    let mut command = assembly::Assembly::default();
    let text = String::from_utf8_lossy(input);
    // Each line is read again with all that went before it.
    for line in text.split_inclusive('\n').take(40) {
        if command.push_line(line, stack()).is_some_and(|parsed| parsed.is_err()) {
            return false;
        }
    }
    command.finish(stack()).is_none_or(|parsed| parsed.is_ok())
}

fn word(input: &[u8]) -> bool {
    parse::parse_word(&String::from_utf8_lossy(input), &parse::options(), stack()).is_ok()
}

fn here_document(input: &[u8]) -> bool {
    parse::here_document(&String::from_utf8_lossy(input), stack()).is_ok()
}

const WORDS: &[&str] = &[
    "<<",
    "<<-",
    "<<E",
    "<<\"\"",
    "\nE\n",
    "$(",
    "$((",
    "${",
    "${x:-",
    "}",
    ")",
    "))",
    "( (",
    ") )",
    "`",
    "\"",
    "'",
    "\\",
    "\\\n",
    "#",
    ";",
    "|",
    "&",
    "if ",
    "then ",
    "fi",
    "case x in ",
    "esac",
    "for i in ",
    "do ",
    "done",
    "f() {",
    "[[ ",
    "]]",
    "~",
    "99999999999>",
    "\n",
    "\t",
    " ",
];

#[test]
fn nonsense_is_refused_in_time() {
    const SCRIPTS: [&str; 4] = [
        "cat <<E; echo \"$(ls)\" ${x:-y} `id`\ntext $(a) ${b}\nE\n",
        "f() { if [ \"$1\" = a ]; then ( (x=2) ); else for i in a b; do echo $((1 << 2)); done; fi; }\n",
        "case $x in a|b) cat <<-'E' >&2;; *) ! true && { x=1; } || (y=2) & esac\n\tt\n\tE\n",
        "x=$(cat <<A <<B\nit's\nA\n\"\nB\n) y=\"${z#'a'}\" command 2>f\n",
    ];
    const DOCUMENTS: [&str; 2] = ["a $(echo \"b\" 'c') ${x:-${y%%z}}\n", "`d \\`e\\`` $((1 + (2))) \\$\n"];
    const PIECES: [&str; 3] =
        ["\"a$(b 'c')\"'d'\\e~", "${x:-\"y\"}$((1+(2)))`z`", "$'a\\n'${#x}${x/a/b}*[a-z]"];
    all(
        "applets::sh::fuzz::nonsense_is_refused_in_time",
        vec![
            Target::text("script", &SCRIPTS, WORDS, program),
            Target::text("lines", &SCRIPTS, WORDS, lines),
            Target::text("word", &PIECES, WORDS, word),
            Target::text("here-document", &DOCUMENTS, WORDS, here_document),
        ],
    );
}
