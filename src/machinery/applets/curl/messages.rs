//! What curl says on standard error beside the failures of transfers.

use super::super::stdio::write_stderr;

/// What follows a wrong call. curl names its manual here, too, if it was built with one.
pub(super) const TRY: &str = "curl: try 'curl --help' for more information\n";

/// Characters of a warning in one line, as in curl, which has 79 with the word in front of them.
const WIDTH: usize = 70;

/// Prints a warning.
pub(super) fn warn(text: &str) {
    write_stderr(&wrap_text(text));
}

/// Returns a warning in lines that end behind a blank, each with the word in front of it.
fn wrap_text(text: &str) -> String {
    let (mut lines, mut rest) = (String::new(), text);
    // As curl counts, the end of the last line needs a place, too.
    while rest.len() >= WIDTH {
        let fitting = rest.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= WIDTH);
        let fitting = fitting.last().unwrap_or(rest.len());
        let end = rest[..fitting].rfind([' ', '\t']).filter(|at| *at > 0).map_or(fitting, |at| at + 1);
        lines += &format!("Warning: {}\n", &rest[..end]);
        rest = &rest[end..];
    }
    lines + &format!("Warning: {rest}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines are curl's.
    #[test]
    fn warnings_are_wrapped() {
        assert_eq!(wrap_text("Failed to open missing!"), "Warning: Failed to open missing!\n");
        let long = "Setting custom HTTP method to HEAD with -X/--request may not work the way you want. \
                    Consider using -I/--head instead.";
        let lines = "Warning: Setting custom HTTP method to HEAD with -X/--request may not work the \n\
                     Warning: way you want. Consider using -I/--head instead.\n";
        assert_eq!(wrap_text(long), lines);
        assert_eq!(
            wrap_text("Problem (retrying all errors). Will retry in 1 seconds. 1 retries left."),
            "Warning: Problem (retrying all errors). Will retry in 1 seconds. 1 retries \nWarning: left.\n"
        );
        let unbroken = "x".repeat(100);
        assert_eq!(
            wrap_text(&unbroken),
            format!("Warning: {}\nWarning: {}\n", "x".repeat(70), "x".repeat(30))
        );
    }
}
