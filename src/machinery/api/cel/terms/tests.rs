use super::super::environment::context;
use super::super::functions::MATCHES;
use super::*;
use cel::common::ast::Expr as Node;

#[test]
fn patterns_are_matched_by_our_own_function() {
    for source in ["'abc'.matches('b+')", "matches('abc', 'b+')"] {
        let term = compile(source).unwrap();
        let is_own = matches!(&term.program.expression().expr, Node::Call(call) if call.func_name == MATCHES);
        assert!(is_own, "{source}");
        assert_eq!(execute(&term, &context()), Ok(Value::Bool(true)), "{source}");
    }
    for (source, holds) in
        [("matches('abc', '^b+$')", false), ("matches('a[', 'a')", true), ("matches('a', 'a' + '')", true)]
    {
        assert_eq!(execute(&compile(source).unwrap(), &context()), Ok(Value::Bool(holds)), "{source}");
    }
    let inner = compile("['a', 'b'].all(x, x.matches('^[ab]$')) && !'c'.matches('^[ab]$')").unwrap();
    assert_eq!(execute(&inner, &context()), Ok(Value::Bool(true)));
    let message = execute(&compile("'a'.matches('(')").unwrap(), &context()).unwrap_err();
    assert!(message.contains("not a valid regex") && !message.contains('@'), "{message}");
}

/// To compile a pattern may take 30 milliseconds, and a loop would do so in each turn.
#[test]
fn the_patterns_of_an_expression_are_few_and_paid_for() {
    let small = |count: usize| {
        let each: Vec<String> = (0..count).map(|n| format!("'a'.matches('^b{n}$')")).collect();
        compile(&each.join(" || ")).map(|term| term.patterns.len())
    };
    assert_eq!(small(PATTERNS_MAX), Ok(PATTERNS_MAX));
    let why = small(PATTERNS_MAX + 1).unwrap_err();
    assert!(why.contains("may have at most 32 patterns, and has 33"), "{why}");
    let large: Vec<String> = (0..20).map(|n| format!(r"'a'.find(r'\pL{{60}}{n}') == ''")).collect();
    let why = compile(&large.join(" && ")).unwrap_err();
    assert!(why.contains("at most 8388608 bytes when compiled"), "{why}");
    for (pattern, is_valid) in [(r"only here \pL{10}", true), (r"(?:\pL{30}){30}", false)] {
        let term = compile(&format!("[1].all(x, 'a'.matches(r'{pattern}') || true)")).unwrap();
        assert_eq!(term.patterns, [pattern]);
        assert!(term.prepare() > 1_000.0, "{pattern} is compiled");
        assert!(term.prepare() < 1.0, "{pattern} is remembered");
        let alone = execute(&compile(&format!("'a'.matches(r'{pattern}')")).unwrap(), &context());
        assert_eq!(alone.is_ok(), is_valid, "{alone:?}");
    }
    let made =
        |pattern: &str| execute(&compile(&format!("'ab'.matches({pattern} + '')")).unwrap(), &context());
    assert_eq!(made("'^a'"), Ok(Value::Bool(true)));
    assert!(
        made(r"r'\pL{60}'").unwrap_err().contains("not a valid regex"),
        "it would be compiled in each turn"
    );
    let repeated = |pattern: &str| compile(&format!("'a'.matches('{pattern}')")).map(|_| ());
    assert_eq!(repeated("x*[ab]{1000}"), Ok(()));
    assert_eq!(repeated("^[ab]{1000}[cd]{1000}$"), Ok(()), "a text has one way through it");
    let why = "a pattern may repeat at most 1000 characters in all: 'x*[ab]{1000}y{2}'";
    assert_eq!(repeated("x*[ab]{1000}y{2}"), Err(why.to_string()));
    assert!(made("'x*[ab]{1000}y{2}'").unwrap_err().contains(why));
}

#[test]
fn errors_of_an_evaluation_are_those_of_cel_go() {
    let message = |error: ExecutionError| in_words_of_upstream(&error);
    let one = || Value::Int(1);
    assert_eq!(message(ExecutionError::no_such_key("a")), "no such key: a");
    assert_eq!(message(ExecutionError::no_such_overload("_+_", vec![])), NO_OVERLOAD);
    assert_eq!(message(ExecutionError::function_error("find", NO_OVERLOAD)), NO_OVERLOAD);
    assert_eq!(message(ExecutionError::IndexOutOfBounds(one())), "index out of bounds: 1");
    assert_eq!(message(ExecutionError::DivisionByZero(one())), "division by zero");
    assert_eq!(message(ExecutionError::RemainderByZero(one())), "modulus by zero");
    assert_eq!(message(ExecutionError::Overflow("add", one(), one())), "integer overflow");
    let large = || Value::UInt(u64::MAX);
    assert_eq!(message(ExecutionError::Overflow("add", large(), large())), "unsigned integer overflow");
}

/// The values may be the parameters of a policy, which the user of the request may not read.
#[test]
fn an_error_shows_no_values() {
    for source in ["1 + 'hidden'", "'hidden' + 1", "3 * 'hidden'", "'hidden' < 1", "{'hidden': 1} + 1"] {
        let message = execute(&compile(source).unwrap(), &context()).unwrap_err();
        assert_eq!(message, NO_OVERLOAD, "{source}");
    }
    for source in ["{'hidden': 1, 'hidden': 2}.size() == 1", "[1]['hidden'] == 1"] {
        if let Err(message) = execute(&compile(source).unwrap(), &context()) {
            assert!(!message.contains("hidden"), "{source}: {message}");
        }
    }
}

#[test]
fn an_expression_that_is_too_long_is_refused() {
    let why = compile(&"x".repeat(100_001)).unwrap_err();
    assert!(why.starts_with("expression code point size exceeds"), "{why}");
}

/// What could hide the nesting after it from a count that reads strings otherwise than the lexer
/// does.
const HIDING: &[&str] = &[
    "",
    "",
    "",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "r\"",
    "R'",
    "br'",
    "b\"",
    "1r\"\\\"",
    "r'\\'",
    "'\n",
    "\"a\n",
    "'\\q",
    "&\"",
    "|'",
    "='",
    "\\'",
    "//",
    "//\n",
    "`",
    "`a'`",
    "#'",
    "\u{feff}'",
    "1in",
    "1uin",
    "0xain",
    "a in",
    "in",
    "'x'in",
    "[1),",
    "(]",
    "a,",
    "'a' + ",
    "? : ",
    "{1:",
];
const NESTING: &[&str] = &[
    "[", "(", "{1:", "!", "-", "a[", "f(", "a.b", ".a", "[0]", "1+", "a in ", "1in[", "in[", "true?1:",
    "a.f(", "{", "?", "&&!", "[[", "[1),", "a{b:", "-1",
];

#[test]
fn whatever_hides_nesting_from_the_count_does_not_overflow_the_stack() {
    let rng = rng::Rng::seeded(rng::fuzz::first_seed());
    let pick = |all: &'static [&'static str]| all[rng.range(0, all.len() as u64) as usize];
    let (mut refused, mut compiled) = (0, 0);
    for _ in 0..3_000 {
        let mut source = String::new();
        for _ in 0..=rng.range(0, 3) {
            let (hiding, nesting) = (pick(HIDING), pick(NESTING));
            let times = *[3, 14, 40, 300, 3_000].get(rng.range(0, 5) as usize).unwrap_or(&3);
            source += &format!("{hiding}{}{}", nesting.repeat(times), pick(HIDING));
            if rng.chance(0.5) {
                let closing = match nesting.chars().last() {
                    Some('[') => "1]",
                    Some('(') => "1)",
                    _ => "1}",
                };
                source += &closing.repeat(times);
            }
        }
        match compile(&source) {
            Ok(_) => compiled += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 1_000, "{refused} refused, {compiled} compiled");
}
