//! The message of a rule that is broken, as an expression makes it.

/// Bytes of a message that an expression makes (`MaxEvaluatedMessageExpressionSizeBytes`
/// upstream).
const MESSAGE_MAX: usize = 5 << 10;

/// Returns the message that an expression made, if it is one line that is not too long.
pub(crate) fn usable_message(made: &str) -> Option<String> {
    let made = made.trim();
    let is_usable = !made.is_empty() && made.len() <= MESSAGE_MAX && !made.contains('\n');
    is_usable.then(|| made.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_an_expression_makes_is_a_line() {
        assert_eq!(usable_message(" too large\n").as_deref(), Some("too large"));
        let long = "x".repeat(MESSAGE_MAX + 1);
        for unusable in [" ", "a\nb", long.as_str()] {
            assert_eq!(usable_message(unusable), None);
        }
        assert!(usable_message(&long[1..]).is_some());
    }
}
