//! Tables of faults, of regular expressions and of formats, and the bounds. What programs and
//! expressions give is in `tests/programs/awk.rs`, where mawk is asked too.

use super::parse::ast::Var;
use super::parse::parse;
use super::regex::{Ahead, Regex, Scan};
use super::run::Interpreter;
use super::run::format::format;
use super::run::value::{Value, leading_number, unescape};
use super::stack::Stack;

/// Stack of the threads that these tests start, in bytes. The bounds are the program's own.
const STACK: usize = 16 << 20;

/// Runs a test on a stack of [`STACK`] bytes.
fn on_a_stack<T: Send + 'static>(test: impl FnOnce(Stack) -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(STACK);
    let started = thread.spawn(move || test(Stack::of_thread(STACK))).expect("a thread");
    started.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs a program and returns the variable `result` as a string, or the message of a fault.
fn result(program: String) -> Result<String, String> {
    on_a_stack(move |stack| {
        let program = parse(program.as_bytes(), stack).map_err(|e| e.text)?;
        let place = program.globals.iter().position(|name| name == "result").ok_or("no result")?;
        let mut interpreter = Interpreter::new(&program, stack);
        interpreter.set_arguments(&[]);
        interpreter.run()?;
        let value = interpreter.var(Var::Global(place)).map_err(|stop| format!("{stop:?}"))?;
        Ok(String::from_utf8_lossy(&value.to_text(b"%.6g")).into_owned())
    })
}

/// Returns the same of an expression.
fn value(expression: &str) -> Result<String, String> {
    result(format!("function id(x) {{ return x }} BEGIN {{ result = ({expression}) \"\" }}"))
}

#[test]
fn faults_say_what_is_wrong() {
    for (expression, wanted) in [
        ("1 / 0", "division by zero"),
        ("$1e18", "the field number 1000000000000000000 is out of range"),
        ("$-1", "the field number -1 is out of range"),
        ("NF = 1e9", "the field number 1000000000 is out of range"),
        ("sprintf(\"%1000000000d\", 1)", "a width in a format is out of range"),
        ("sprintf(\"%y\", 1)", "unknown conversion %y in a format"),
        ("sprintf(\"%d\")", "not enough arguments for the format \"%d\""),
        ("\"x\" ~ /[[.space.]]/", "[.space.] is no single byte, so it is not supported in"),
        ("\"x\" ~ \"(\"", "missing ) in the regular expression /(/"),
        ("\"x\" ~ \"((a{1000}){1000}){1000}\"", "too many repetitions"),
        ("(m[1] = 1) m", "m is an array and used as a value"),
        ("gensub(/a/, \"b\", \"g\")", "the function gensub of gawk is not supported"),
        ("strftime()", "the function strftime of gawk is not supported"),
        ("nothing()", "function nothing is not defined"),
        ("id(1, 2)", "function id is called with too many arguments"),
        ("match(\"a\", /a/, m)", "match does not take 3 arguments (the last one is gawk's own)"),
        ("(1, 2)", "syntax error near )"),
        ("\"abc", "unterminated string"),
        ("/\\<a/", "\\< is gawk's own and not supported"),
    ] {
        let text = value(expression).expect_err(expression);
        assert!(text.contains(wanted), "{expression}: {text}");
    }
}

#[test]
fn depth_is_bounded() {
    for (expression, wanted) in [
        (format!("{}1{}", "(".repeat(20_000), ")".repeat(20_000)), "too deeply"),
        (format!("{}1", "- ".repeat(20_000)), "too deeply"),
        (format!("{}x", "++ ".repeat(20_000)), "too deeply"),
        (format!("{}\"x\"", "getline < ".repeat(20_000)), "too deeply"),
        (format!("{}1", "$".repeat(20_000)), "too deeply"),
        (format!("{}1", "x = ".repeat(20_000)), "too deeply"),
        (format!("{}1{}", "m[".repeat(20_000), "]".repeat(20_000)), "too deeply"),
        (format!("{}1", "1?1:".repeat(20_000)), "too deeply"),
        (format!("{}1", "2^".repeat(20_000)), "too deeply"),
        (format!("{}1", "1+".repeat(20_000)), "too long"),
        (format!("{}1", "1 in m == ".repeat(20_000)), "too long"),
        (format!("\"\" ~ \"{}\"", "(".repeat(20_000)), "too many nested groups"),
        (format!("\"\" ~ \"a{}\"", "{2,3}".repeat(20_000)), "too many repetitions"),
    ] {
        let text = value(&expression).unwrap_err();
        assert!(text.contains(wanted), "{}", &text[..text.len().min(100)]);
    }
}

/// Each shape takes another number of bytes for a level, and all of them end with a message.
#[test]
fn endless_recursion_is_a_fault() {
    for body in [
        "return f(n + 1)",
        "return substr(sprintf(\"%s\", f(n + 1)), 1)",
        "return f(f(n))",
        "if (1) { while (1) { for (;;) { do { f(n) } while (1) } } }",
        "m[1]; for (k in m) f(n)",
        "print f(n) > \"/dev/null\"",
        "return 1 ? (1 + -f(n) \"x\") ~ \"x\" : 2",
        "sub(/x/, f(n)); return toupper(f(n)) < 3",
        "split(f(n), m)",
        "delete m[f(n)]",
    ] {
        let text = result(format!("function f(n) {{ {body} }} BEGIN {{ result = f(0) }}"));
        let text = text.expect_err(body);
        assert!(text.contains("function f is nested too deeply") && text.contains("16 MiB"), "{text}");
    }
}

#[test]
fn a_long_chain_of_else_if_is_no_deep_program() {
    let branches: String = (0..5000).map(|n| format!("if (x == {n}) result = {n}; else ")).collect();
    assert_eq!(result(format!("BEGIN {{ x = 4999; {branches} result = \"none\" }}")).as_deref(), Ok("4999"));
    assert_eq!(result(format!("BEGIN {{ x = -1; {branches} result = \"none\" }}")).as_deref(), Ok("none"));
}

/// The deepest expression that is read, with everything that makes a node around each group.
#[test]
fn the_deepest_expression_fits_on_a_small_stack() {
    let deepest =
        |stacked: &str| format!("{}x{}", "(y|z(".repeat(100), format!("){stacked}){stacked}").repeat(100));
    let thread = std::thread::Builder::new().stack_size(8 << 20);
    let tested = thread.spawn(move || {
        let regex = Regex::new(deepest("*+?").as_bytes()).expect("200 groups");
        assert_eq!(regex.find(b"zzx", 0), Some((0, 2)));
        let text = Regex::new(deepest("{0,2}{0,2}{0,2}{0,2}").as_bytes()).expect_err("too many states");
        assert!(text.contains("too many repetitions"), "{}", &text[..50]);
        Regex::new(format!("a{}", "?".repeat(300_000)).as_bytes()).expect("`?` of `?` is `?`").is_match(b"a")
    });
    assert!(tested.expect("a thread").join().expect("no overflow"));
}

/// Sizes with which a quadratic time is hours.
#[test]
fn odd_texts_take_linear_time() {
    let many = |text: &str| text.repeat(300_000);
    let brackets = format!("BEGIN {{ result = x ~ /{}/ }}", many("["));
    assert!(result(brackets).expect_err("no bracket is closed").contains("missing ]"));
    assert!(Regex::new("a{".repeat(100_000).as_bytes()).is_err_and(|e| e.contains("too many")));
    assert!(Regex::new(format!("[{}]", many("[:")).as_bytes()).is_ok());
    let paragraph = "BEGIN { RS = \"\"; FS = \"::\"; for (i = 0; i < 16; i++) l = l \"some words\\n\"; \
         for (i = 0; i < 13; i++) l = l l; result = split(l, p) }";
    assert_eq!(result(paragraph.into()).as_deref(), Ok("131073"));
}

#[test]
fn a_text_that_arrives_in_pieces_is_searched_once() {
    let regex = Regex::new(b"abcd|b|c+").expect("an expression");
    let cases: [(&[u8], bool, Ahead); 8] = [
        (b"xa", false, Ahead::Open),
        (b"xab", false, Ahead::Open), // `cd` could follow
        (b"xab", true, Ahead::Match(2, 3)),
        (b"xabx", false, Ahead::Match(2, 3)),
        (b"xabcd", false, Ahead::Match(1, 5)),
        (b"xcc", false, Ahead::Open),
        (b"xccx", false, Ahead::Match(1, 3)),
        (b"xx", false, Ahead::None),
    ];
    for (text, ended, wanted) in cases {
        assert_eq!(regex.find_ahead(text, ended), wanted, "{text:?}");
    }
    let (mut scan, mut text) = (Scan::default(), Vec::new());
    for _ in 0..1000 {
        text.extend_from_slice(b"xyz");
        assert!(!regex.resume(&text, &mut scan));
    }
    text.extend_from_slice(b"bx");
    assert!(regex.resume(&text, &mut scan));
}

#[test]
fn programs_are_read() {
    for (program, reads) in [
        ("{print $1}", true),
        ("BEGIN{x=1}; {print}\n/a/ && /b/", true),
        ("BEGIN{do i++; while (i < 3)}", true),
        ("BEGIN{while (\"x\" | getline l > 0) n++; if (a &&\n b) print; else\n\n print}", true),
        ("/[/]/ {print $a[1] > \"file\" \".txt\"}", true),
        ("BEGIN{printf(\"%s\\n\", x) > \"f\"; print (1)(2); print (1, 2) > \"f\"}", true),
        ("function f(a,\n b)\n{ return }\nBEGIN { f(1) } # end", true),
        ("BEGIN{print 1 + (2, 3)}", false),
        ("BEGIN{print (1, 2) + 3}", false),
        ("BEGIN{break}", false),
        ("BEGIN{return}", false),
        ("BEGIN", false),
        ("BEGIN\n{}", false),
        ("{print", false),
        ("}", false),
        ("BEGINFILE{}", false),
        ("BEGIN{switch (x) {case 1: y}}", false),
        ("BEGIN{switch(x) {case 1: y}}", false),
        ("BEGIN{case = default = switch = BEGINFILE = 1}", true),
        ("1 in a == 0 && 1 in a ~ 0 {print 1 in a != 2 in a > \"f\"}", true),
        ("BEGIN{print \"a\" |& \"b\"}", false),
        ("function f(f) {}", false),
        ("BEGIN{gsub(/a/, \"b\", \"c\")}", false),
    ] {
        let parsed = on_a_stack(move |stack| parse(program.as_bytes(), stack).is_ok());
        assert_eq!(parsed, reads, "{program}");
    }
}

#[test]
fn regular_expressions_find_the_leftmost_longest() {
    for (pattern, text, wanted) in [
        ("a|ab", "xabc", Some((1, 3))),
        ("(a|ab)(c|bcd)", "abcd", Some((0, 4))),
        ("x*", "aaa", Some((0, 0))),
        ("^b|c$", "abc", Some((2, 3))),
        ("^$", "", Some((0, 0))),
        ("[]a]+", "x]a]", Some((1, 4))),
        ("[^[:space:]]+", "  ab ", Some((2, 4))),
        ("a{2,3}", "aaaa", Some((0, 3))),
        ("a{,", "a{,", Some((0, 3))),
        ("\\$\\.", "a$.", Some((1, 3))),
        ("+a", "+a", Some((0, 2))),
        ("(ab)*c", "ababc", Some((0, 5))),
        ("[a-", "a", None),
        ("$^", "", Some((0, 0))),
        ("$^", "a", None),
        ("a+++", "baaa", Some((1, 4))),
        ("(ab+)??c", "abbc", Some((0, 4))),
        ("a{2}*", "aaaaa", Some((0, 4))),
        ("[[.-.]a]+", "x-a", Some((1, 3))),
        ("[[=a=]-c]+", "xabc", Some((1, 4))),
        ("[[.]+", "[.", Some((0, 2))),
        ("[[.space.]]", " ", None), // refused
    ] {
        let found = Regex::new(pattern.as_bytes()).ok().and_then(|regex| regex.find(text.as_bytes(), 0));
        assert_eq!(found, wanted, "{pattern}");
    }
}

#[test]
fn formats_are_those_of_c() {
    for (spec, number, wanted) in [
        ("%d %i", 3.9, "3 3"),
        ("%05d|%-5d|%+d", -42.0, "-0042|-42  |-42"),
        ("%x|%#o|%u", 255.0, "ff|0377|255"),
        ("%e|%.0e|%E", 12345.678, "1.234568e+04|1e+04|1.234568E+04"),
        ("%g|%.3g|%#g", 100000.0, "100000|1e+05|100000."),
        ("%g", 1e-5, "1e-05"),
        ("%08.3f|%.0f", -2.5, "-002.500|-2"),
        ("%c%%", 65.0, "A%"),
        ("%*d|%-*d|", 3.0, "  3|3  |"),
        ("%s %5.1s|", 0.1, "0.1     0|"),
    ] {
        let values = vec![Value::Number(number); 4];
        let text =
            format(spec.as_bytes(), &values, b"%.6g").map(|t| String::from_utf8_lossy(&t).into_owned());
        assert_eq!(text.as_deref(), Ok(wanted), "{spec}");
    }
}

#[test]
fn texts_from_outside_are_numbers_if_they_look_like_one() {
    for (text, number, length) in [
        (" 12x", 12.0, 3),
        ("-.5e1", -5.0, 5),
        ("1e", 1.0, 1),
        (".", 0.0, 0),
        ("+", 0.0, 0),
        ("0x1A", 0.0, 1),
    ] {
        assert_eq!(leading_number(text.as_bytes()), (number, length), "{text}");
    }
    let compares =
        |a: &str, b: &str| Value::input(a.as_bytes()).compare(&Value::input(b.as_bytes()), b"%.6g");
    assert_eq!(compares("10", " 9 "), Some(std::cmp::Ordering::Greater));
    assert_eq!(compares("10", "9x"), Some(std::cmp::Ordering::Less));
    assert_eq!(unescape(br"a\tb\\\.\x41\101\q\"), b"a\tb\\\\.AA\\q\\");
}
