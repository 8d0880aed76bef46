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
    let inner = compile("['a', 'b'].all(x, x.matches('^[ab]$')) && !'c'.matches('^[ab]$')").unwrap();
    assert_eq!(execute(&inner, &context()), Ok(Value::Bool(true)));
    let message = execute(&compile("'a'.matches('(')").unwrap(), &context()).unwrap_err();
    assert!(message.contains("not a valid regex") && !message.contains('@'), "{message}");
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
