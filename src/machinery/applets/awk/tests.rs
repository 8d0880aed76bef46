//! Tables of programs, of expressions and of formats. What runs commands or reads files is in
//! `tests/programs/awk.rs`.

use super::format::format;
use super::interpreter::Interpreter;
use super::parser::parse;
use super::regex::Regex;
use super::value::{Value, leading_number, unescape};

/// Levels that fit on the stack of a test's thread.
const LEVELS: usize = 200;

/// The value of an expression as a string, or the message of a fault.
fn value(expression: &str) -> Result<String, String> {
    let program =
        parse(format!("function id(x) {{ return x }} BEGIN {{ result = ({expression}) \"\" }}").as_bytes())
            .map_err(|e| e.text)?;
    let place = program.globals.iter().position(|name| name == "result").ok_or("no result")?;
    let mut interpreter = Interpreter::new(&program, LEVELS);
    interpreter.set_arguments(&[]);
    interpreter.run()?;
    let value = interpreter.var(super::ast::Var::Global(place)).map_err(|stop| format!("{stop:?}"))?;
    Ok(String::from_utf8_lossy(&value.to_text(b"%.6g")).into_owned())
}

#[test]
fn expressions_have_their_values() {
    for (expression, wanted) in [
        ("-2^2", "-4"),
        ("2^3^2", "512"),
        ("2^-1", "0.5"),
        ("1 \" \" -1", "1-1"), // as in gawk and mawk: `-` subtracts
        ("1 - -1", "2"),
        ("!x + 1", "2"),
        ("1 + a = 2", "3"),
        ("$1 = \"x\"", "x"),
        ("($3 = 1) NF", "13"),
        ("a = \"b\" ~ \"b\"", "1"),
        ("\"10\" < \"9\"", "1"),
        ("10 < 9", "0"),
        ("(x == 0) (x == \"\")", "11"),
        ("substr(\"hello\", 0, 2)", "h"),
        ("substr(\"hello\", -1e30, 1e31)", "hello"),
        ("length \"x\"", "0x"),
        ("index(\"foobar\", \"bar\")", "4"),
        ("match(\"xfoobar\", /foo|foobar/) RLENGTH", "26"),
        ("split(\"a1b22c\", p, /[0-9]+/) p[3]", "3c"),
        ("gsub(/x*/, \"-\", s)", "1"),
        ("(t = \"abxc\") gsub(/x*/, \"-\", t) t", "abxc4-a-b-c-"),
        ("(t = \"aa\") gsub(/a/, \"[&\\\\&]\", t) t", "aa2[a&][a&]"),
        ("((1, 2) in m) + (m[1, 2] = 1) ((1, 2) in m)", "11"),
        ("1 ? 2 : z = 3", "2"),
        ("100000 * 100000", "10000000000"),
        ("1e300 * 1e300", "inf"),
        ("0.1 + 0.2", "0.3"),
        ("id(id(3)) id()", "3"),
        ("sprintf(\"%s|%3d|%-3s|%c\", \"a\", 7, \"b\", 65)", "a|  7|b  |A"),
        ("toupper(\"aé\") == \"Aé\"", "1"),
        ("substr(\"a\\\\.b\", 2, 1) \"\\.\"", "\\\\."),
    ] {
        assert_eq!(value(expression).as_deref(), Ok(wanted), "{expression}");
    }
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
        (format!("{}1", "$".repeat(20_000)), "too deeply"),
        (format!("{}1", "1?1:".repeat(20_000)), "too deeply"),
        (format!("{}1", "1+".repeat(20_000)), "too long"),
        (format!("\"\" ~ \"{}\"", "(".repeat(20_000)), "too many nested groups"),
    ] {
        // On a stack like the program's own.
        let thread = std::thread::Builder::new().stack_size(super::STACK).spawn(move || value(&expression));
        let text = thread.map(|thread| thread.join()).unwrap().unwrap().unwrap_err();
        assert!(text.contains(wanted), "{}", &text[..text.len().min(100)]);
    }
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
        ("BEGIN{print \"a\" |& \"b\"}", false),
        ("function f(f) {}", false),
        ("BEGIN{gsub(/a/, \"b\", \"c\")}", false),
    ] {
        assert_eq!(parse(program.as_bytes()).is_ok(), reads, "{program}");
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
